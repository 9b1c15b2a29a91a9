"""The commands of `ragkit`, one module a family; `ui/cli.py` lists them and imports one when it is called."""
