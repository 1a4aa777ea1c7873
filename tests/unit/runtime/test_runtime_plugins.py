"""Plug-ins are loaded at once, and every problem with them is told at once."""

import json
from importlib.metadata import EntryPoint

import pytest

from burnish_runtime import plugins


def offer(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group="burnish.things")


def test_plugins_come_by_name_in_order():
    found = [offer("b", "json:loads"), offer("a", "json:dumps")]
    assert list(plugins.load("burnish.things", found=found).items()) == [
        ("a", json.dumps),
        ("b", json.loads),
    ]


def test_an_entry_seen_twice_is_one_plugin():
    twice = [offer("a", "json:dumps"), offer("a", "json:dumps")]
    assert list(plugins.load("burnish.things", found=twice)) == ["a"]


def test_clash_broken_import_and_wrong_kind_are_reported_together():
    found = [
        offer("clash", "json:dumps"),
        offer("clash", "json:loads"),
        offer("broken", "burnish_no_such_module:thing"),
        offer("wrong", "json.decoder:NaN"),
    ]
    with pytest.raises(plugins.PluginsUnusable) as caught:
        plugins.load("burnish.things", found=found, accepts=callable)
    assert set(caught.value.metadata) == {"clash", "broken", "wrong"}
    assert "json:dumps" in caught.value.metadata["clash"]
    assert "ModuleNotFoundError" in caught.value.metadata["broken"]


def test_installed_plugins_of_an_unused_group_are_none():
    assert plugins.load("burnish.no_such_group") == {}
