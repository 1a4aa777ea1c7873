"""Resource names: what is parsed is what was formatted, and nothing else is a name."""

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.resources import (
    JobName,
    PolicyName,
    ResourceNameInvalid,
    StudyName,
    VerifierGraphName,
    VerifierGraphVersionName,
)

KINDS = (JobName, StudyName, PolicyName, VerifierGraphName)
ALPHANUMERIC = string.ascii_letters + string.digits
ids = st.builds(
    lambda head, tail: head + tail,
    st.sampled_from(ALPHANUMERIC),
    st.text(ALPHANUMERIC + "._~-", max_size=127),
)


@given(kind=st.sampled_from(KINDS), identifier=ids)
def test_a_formatted_name_parses_to_itself(kind, identifier):
    name = kind(identifier)
    assert kind.parse(str(name)) == name
    assert str(kind.parse(f"{kind.collection}/{identifier}")) == f"{kind.collection}/{identifier}"


@given(kind=st.sampled_from(KINDS), text=st.text())
def test_any_text_is_a_name_that_formats_back_or_is_refused(kind, text):
    for name in (text, f"{kind.collection}/{text}"):
        with contextlib.suppress(ResourceNameInvalid):
            assert str(kind.parse(name)) == name


@given(kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=2, unique=True), identifier=ids)
def test_a_name_of_one_kind_is_no_name_of_another(kinds, identifier):
    one, other = kinds
    with pytest.raises(ResourceNameInvalid):
        other.parse(str(one(identifier)))


@pytest.mark.parametrize(
    "text",
    ["", "jobs", "jobs/", "jobs/a/b", "/jobs/a", "jobs/ a", "jobs/a\n", "jobs/é", "jobs/..",
     "jobs/" + "a" * 129, "Jobs/a"],
)  # fmt: skip
def test_near_misses_are_refused(text):
    with pytest.raises(ResourceNameInvalid):
        JobName.parse(text)


def test_an_id_that_cannot_be_parsed_cannot_be_formatted():
    with pytest.raises(ResourceNameInvalid):
        StudyName("a/b")


def test_a_refusal_names_the_text_and_the_form():
    with pytest.raises(ResourceNameInvalid) as caught:
        JobName.parse("studies/a")
    assert caught.value.metadata == {"name": "studies/a", "format": "jobs/{job}"}
    assert "`studies/a`" in caught.value.message
    assert "`jobs/{job}`" in caught.value.message


@given(identifier=ids, version=st.integers(1, 999_999_999))
def test_a_version_of_a_graph_parses_to_itself(identifier, version):
    name = VerifierGraphVersionName(identifier, version)
    assert VerifierGraphVersionName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["verifierGraphs/a", "verifierGraphs/a/versions/0", "verifierGraphs/a/versions/01",
     "verifierGraphs/a/versions/-1", "verifierGraphs/a/versions/1/", "graphs/a/versions/1",
     "verifierGraphs//versions/1", "verifierGraphs/a b/versions/1"],
)  # fmt: skip
def test_what_is_no_version_of_a_graph_is_refused(text):
    with pytest.raises(ResourceNameInvalid, match="versions"):
        VerifierGraphVersionName.parse(text)
