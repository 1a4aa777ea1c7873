"""A section under normalisation: values are got, put and moved by dotted path."""

from __future__ import annotations

from burnish.config.base import Raw
from burnish.config.problems import Findings


class Table:
    """A section under normalisation: gets, sets and moves values by dotted path."""

    def __init__(self, root: Raw, findings: Findings) -> None:
        self.root = root
        self.findings = findings

    def get(self, path: str) -> object:
        """Returns the value at a path, or None."""
        node: object = self.root
        for key in path.split("."):
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node

    def put(self, path: str, value: object) -> bool:
        """Sets the value at a path; False when a value stands in the way."""
        *parents, last = path.split(".")
        node = self.root
        for key in parents:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                return False
            node = child
        node[last] = value
        return True

    def drop(self, path: str) -> object:
        """Takes a value out, and returns it or None."""
        head, _, last = path.rpartition(".")
        node = self.get(head) if head else self.root
        return node.pop(last, None) if isinstance(node, dict) else None

    def move(self, source: str, target: str, *, deprecated: bool = False) -> None:
        """Moves a value to its canonical place.

        Both given and equal: one is dropped. Both given and different: a problem.
        """
        value = self.get(source)
        if value is None or source == target:
            return
        if deprecated:
            self.findings.warn(source, f"is deprecated; use `{target}`")
        there = self.get(target)
        if there is None:
            self.drop(source)
            if self.put(target, value):
                self.findings.names.record(target, source)
        elif there == value or self._wins(target, source):
            self.drop(source)
        elif self._wins(source, target):
            self.put(target, self.drop(source))
            self.findings.names.record(target, source)
        else:
            written = self.findings.names.written(target)
            self.findings.problem(source, value, f"contradicts `{written}`", "keep one of the two")
            self.drop(source)

    def _wins(self, path: str, other: str) -> bool:
        """Whether an override set the one and not the other."""
        overridden = self.findings.is_overridden
        return overridden(path) and not overridden(other)

    def copy_down(self, source: str, target: str) -> None:
        """Moves a value unless its target is given, which then wins with a warning."""
        value = self.get(source)
        if value is None:
            return
        there = self.get(target)
        if there is not None and there != value and not self._wins(source, target):
            written = self.findings.names.written(target)
            self.findings.warn(source, f"is ignored, because `{written}` is given")
            self.drop(source)
            return
        self.move(source, target)
