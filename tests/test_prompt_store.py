"""The store: bundled templates are fixed, a person's own are files, a broken one harms no other."""

from __future__ import annotations

import pytest

from ragkit.errors import TemplateError
from ragkit.prompt.store import TemplateStore

MINE = 'name = "mine"\nsummary = "s"\nwhen = "w"\n# a remark\nuser = "{question}?"\n'


@pytest.fixture
def store(tmp_path):
    return TemplateStore(tmp_path / "templates")


def test_own_templates_are_saved_listed_and_deleted(store, tmp_path):
    before = store.names
    saved = store.save(MINE)
    assert store.names == [*before, "mine"]
    assert store.get("mine") == saved
    assert store.text("mine") == MINE
    store.save(MINE.replace("?", "!"))
    assert store.get("mine").user == "{question}!"
    assert [path.name for path in (tmp_path / "templates").iterdir()] == ["mine.toml"]
    store.delete("mine")
    assert store.names == before


def test_a_faulty_text_is_not_written(store, tmp_path):
    with pytest.raises(TemplateError, match=r"\{quest\}"):
        store.save(MINE.replace("question", "quest"))
    assert not (tmp_path / "templates" / "mine.toml").exists()


def test_bundled_templates_cannot_be_changed_but_copied(store):
    text = store.text("cite")
    with pytest.raises(TemplateError, match="Copy it"):
        store.save(text)
    with pytest.raises(TemplateError, match="cannot be deleted"):
        store.delete("cite")
    copy = store.copy("cite", "cite-2")
    assert store.get("cite-2") == copy
    assert copy.sha256 == store.get("cite").sha256
    assert store.text("cite-2") == text.replace('name = "cite"', 'name = "cite-2"')
    with pytest.raises(TemplateError, match="already"):
        store.copy("cite", "cite-2")
    with pytest.raises(TemplateError, match="already"):
        store.copy("cite", "strict")


def test_a_copy_keeps_a_persons_remarks(store):
    store.save(MINE)
    store.copy("mine", "other")
    assert "# a remark" in store.text("other")


@pytest.mark.parametrize("name", ["../mine", "a/b", "", "x" * 65, "mine.toml", "."])
def test_names_are_file_names_and_nothing_else(store, name):
    store.save(MINE)
    with pytest.raises(TemplateError):
        store.copy("mine", name)
    with pytest.raises(TemplateError, match="no template"):
        store.delete(name)
    with pytest.raises(TemplateError, match="There are: cite"):
        store.get(name)


def test_broken_files_are_reported_and_the_others_work(store, tmp_path):
    store.save(MINE)
    folder = tmp_path / "templates"
    (folder / "bad.toml").write_text('name = "bad"\nuser = "{quest} {"\n', encoding="utf-8")
    (folder / "odd.toml").write_text(MINE, encoding="utf-8")
    (folder / "cite.toml").write_text(MINE.replace("mine", "cite"), encoding="utf-8")
    (folder / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "huge.toml").write_bytes(b"#" * 200_000)
    assert "mine" in store.names
    broken = {entry.name: " ".join(map(str, entry.problems)) for entry in store.broken()}
    assert set(broken) == {"bad", "odd", "cite", "bytes", "huge"}
    assert "{quest}" in broken["bad"]
    assert "'summary' is missing" in broken["bad"]
    assert "calls itself 'mine'" in broken["odd"]
    assert "comes with ragkit" in broken["cite"]
    assert store.text("bad").startswith('name = "bad"')
    with pytest.raises(TemplateError, match="line 2"):
        store.get("bad")
    store.delete("bad")
    assert not (folder / "bad.toml").exists()
