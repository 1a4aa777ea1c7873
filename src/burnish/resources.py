"""Resource names, such as `jobs/{job}`: the one place where they are parsed and put together.

A *name* is the whole text, an *id* its last segment. An id is made of ASCII letters, digits, `.`,
`_`, `~` and `-`, starts with a letter or digit, and is at most 128 characters long, so that it can
stand in a URL or a file name as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from burnish.errors import InvalidArgument

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", re.ASCII)
_VERSION = re.compile(
    rf"verifierGraphs/(?P<graph>{_ID.pattern})/versions/(?P<version>[1-9][0-9]{{0,8}})", re.ASCII
)
_MAX_SHOWN_CHARACTERS = 200


class ResourceNameInvalid(InvalidArgument):
    """A text that is not a resource name of the kind asked for. Never valid; do not retry."""

    default_reason = "RESOURCE_NAME_INVALID"


@dataclass(frozen=True, slots=True, order=True)
class _ResourceName:
    """A name of two segments: collection and id.

    Attributes:
        id: Last segment of the name.
    """

    collection: ClassVar[str]
    placeholder: ClassVar[str]

    id: str

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise _invalid(type(self), f"{self.collection}/{self.id}")

    @classmethod
    def parse(cls, name: str) -> Self:
        """Takes a name apart.

        Args:
            name: Whole name, such as `jobs/a`.

        Raises:
            ResourceNameInvalid: The text has another form.
        """
        collection, slash, identifier = name.partition("/")
        if collection != cls.collection or not slash or _ID.fullmatch(identifier) is None:
            raise _invalid(cls, name)
        return cls(identifier)

    def __str__(self) -> str:
        return f"{self.collection}/{self.id}"


def _invalid(kind: type[_ResourceName], name: str) -> ResourceNameInvalid:
    return _malformed(name, f"{kind.collection}/{{{kind.placeholder}}}")


def _malformed(name: str, form: str) -> ResourceNameInvalid:
    shown = name[:_MAX_SHOWN_CHARACTERS]
    return ResourceNameInvalid(
        f"`{shown}` is not a name of the form `{form}`; the id may hold ASCII letters, digits and "
        "`._~-`, must start with a letter or digit, and have at most 128 characters",
        metadata={"name": shown, "format": form},
    )


@dataclass(frozen=True, slots=True, order=True)
class JobName(_ResourceName):
    """Name of a job: `jobs/{job}`."""

    collection = "jobs"
    placeholder = "job"


@dataclass(frozen=True, slots=True, order=True)
class StudyName(_ResourceName):
    """Name of a study: `studies/{study}`."""

    collection = "studies"
    placeholder = "study"


@dataclass(frozen=True, slots=True, order=True)
class PolicyName(_ResourceName):
    """Name of a policy: `policies/{policy}`."""

    collection = "policies"
    placeholder = "policy"


@dataclass(frozen=True, slots=True, order=True)
class VerifierGraphName(_ResourceName):
    """Name of a verifier graph: `verifierGraphs/{verifier_graph}`."""

    collection = "verifierGraphs"
    placeholder = "verifier_graph"


@dataclass(frozen=True, slots=True, order=True)
class VerifierGraphVersionName:
    """Name of a version of a graph: `verifierGraphs/{verifier_graph}/versions/{version}`.

    Attributes:
        graph: Id of the graph.
        version: From 1.
    """

    form: ClassVar[str] = "verifierGraphs/{verifier_graph}/versions/{version}"

    graph: str
    version: int

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.graph) is None or self.version < 1:
            raise _malformed(f"verifierGraphs/{self.graph}/versions/{self.version}", self.form)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Takes a name apart.

        Args:
            name: Whole name, such as `verifierGraphs/a/versions/1`.

        Raises:
            ResourceNameInvalid: The text has another form.
        """
        found = _VERSION.fullmatch(name)
        if found is None:
            raise _malformed(name, cls.form)
        return cls(found["graph"], int(found["version"]))

    def __str__(self) -> str:
        return f"verifierGraphs/{self.graph}/versions/{self.version}"
