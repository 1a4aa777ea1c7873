"""Label lists are found in every form that prompts use, and only where there are any."""

import json

import pytest

from burnish.local.demos import Turn
from burnish.local.labels import find_label_lists
from burnish.local.prompt import Source, read_prompt

LABELS = [
    "parcel_late", "parcel_lost", "parcel_damaged", "wrong_item", "refund_missing?", "Return_label",
    "change_address", "cancel_order", "pay_later", "gift_card", "stock_question", "track_order",
]  # fmt: skip
NOTES = {name: f"text about {i} {name.split('_')[0]}s and so on" for i, name in enumerate(LABELS)}
HEAD = "You sort messages of a web shop.\n\n"
TAIL = "\n\nReply with only the label. Do not explain yourself."

FORMS = {
    "numbered": "Available intents:\n" + "\n".join(f"{i + 1}. {n}" for i, n in enumerate(LABELS)),
    "bulleted": "Labels:\n" + "\n".join(f"- {n}" for n in LABELS),
    "back-ticked": "Use one of these labels:\n" + "\n".join(f"* `{n}`" for n in LABELS),
    "back-ticked in a sentence": "The labels are " + ", ".join(f"`{n}`" for n in LABELS) + ".",
    "bold": "## Categories\n\n" + "\n".join(f"- **{n}**" for n in LABELS),
    "bold with text": "Categories\n" + "\n".join(f"- **{n}**: {t}" for n, t in NOTES.items()),
    "comma list": "Choose one of these intents: " + ", ".join(LABELS),
    "comma list and a sentence": "Labels: " + ", ".join(LABELS) + ". Reply with the label only.",
    "comma list with and": f"Labels: {', '.join(LABELS[:-1])} and {LABELS[-1]}.",
    "wrapped comma list": "Labels: " + ",\n  ".join(LABELS) + "\nAnswer with one.",
    "json array": "Labels: " + json.dumps(LABELS),
    "python list": f"Valid classes are {LABELS}.",
    "json object": "Intents:\n" + json.dumps(NOTES, indent=2),
    "one per line": "Possible labels:\n" + "\n".join(LABELS),
    "name: text": "Intents:\n" + "\n".join(f"{n}: {t}" for n, t in NOTES.items()),
    "name - text": "Intents:\n\n" + "\n".join(f"{n} - {t}" for n, t in NOTES.items()),
    "name (text)": "Intents:\n" + "\n".join(f"- {n} ({t})" for n, t in NOTES.items()),
    "xml lines": "<labels>\n" + "\n".join(LABELS) + "\n</labels>",
    "xml elements": "\n".join(f"<label>{n}</label>" for n in LABELS),
    "xml nested": "<intents>" + "".join(f"<intent>{n}</intent>" for n in LABELS) + "</intents>",
    "xml attributes": "\n".join(f'<intent name="{n}">{t}</intent>' for n, t in NOTES.items()),
    "xml children": "<intents>\n"
    + "\n".join(
        f"<intent><name>{n}</name><description>{t}</description></intent>" for n, t in NOTES.items()
    )
    + "\n</intents>",
    "prose": " ".join(f"Use {n} when they write {t}." for n, t in NOTES.items()),
    "prose, lines": "\n".join(f"- Choose `{n}` if they write {t}." for n, t in NOTES.items()),
    "prose, condition first": "\n".join(
        f"If the message is {t}, answer {n}." for n, t in NOTES.items()
    ),
    "heading without colon": "Intents\n" + "\n".join(LABELS),
    "markdown heading": "# Intents\n\n" + "\n".join(LABELS),
    "no heading": "\n".join(LABELS),
    "pipes": "Label set: " + " | ".join(LABELS),
    "paragraphs": "Labels:\n\n"
    + "\n\n".join(f"{i}) {n}: {t}" for i, (n, t) in enumerate(NOTES.items())),
}


def labels_of(text, **source) -> tuple[str, ...]:
    return read_prompt(Source(turns=(Turn(role="system", text=text),), **source)).labels


@pytest.mark.parametrize("form", FORMS)
def test_all_labels_are_read_from_form(form):
    assert set(labels_of(HEAD + FORMS[form] + TAIL)) == set(LABELS)


@pytest.mark.parametrize("form", FORMS)
def test_all_labels_are_read_from_form_in_the_user_message(form):
    text = f"Customer Query: my parcel never came\n\n{FORMS[form]}\n\nClassify this query."
    assert set(labels_of(text)) == set(LABELS)


PLAIN = {
    "comma": (
        "Classify the headline as one of: World, Sports, Business, Sci/Tech.",
        ["World", "Sports", "Business", "Sci/Tech"],
    ),
    "or": (
        "Is it positive, negative, or neutral? Classify it as positive, negative or neutral.",
        ["positive", "negative", "neutral"],
    ),
    "words": (
        "Topics:\n- Billing question\n- Broken device\n- Other",
        ["Billing question", "Broken device", "Other"],
    ),
    "dash in name": (
        "Queues:\n- Billing - refund\n- Billing - charge\n- Other - misc",
        ["Billing - refund", "Billing - charge", "Other - misc"],
    ),
    "codes": ("Codes:\nL00: late parcels\nL01: lost parcels\nL02: the rest", ["L00", "L01", "L02"]),
    "rules beside labels": (
        "Rules:\n- Be concise\n- Think first\n- Stay calm\n\nLabels:\n- late\n- lost",
        ["late", "lost"],
    ),
    "groups": (
        "Labels\n\nParcels:\n- parcel_late: came late\n- parcel_lost: never came\n\n"
        "Money:\n- refund_due: no refund yet\n- pay_twice: charged twice",
        ["parcel_late", "parcel_lost", "refund_due", "pay_twice"],
    ),
    "part guide": (
        "Labels: a_one, b_two, c_three, d_four\n\nEasily confused labels:\n"
        "- a_one: some text\n- b_two: other text",
        ["a_one", "b_two", "c_three", "d_four"],
    ),
    "spam or ham": ("Decide whether the e-mail is spam or ham.", ["spam", "ham"]),
    "notes in brackets": (
        "Classify news into World (international affairs), Sports, Business, or Sci/Tech.",
        ["World", "Sports", "Business", "Sci/Tech"],
    ),
    "levels": ("Priorities:\n1) Low - can wait\n2) High - today", ["Low", "High"]),
    "table": (
        "## Departments\n| name | when |\n|---|---|\n| cardiology | heart |\n| skin | rash |",
        ["cardiology", "skin"],
    ),
    "letters": (
        "Categories: (a) billing, (b) technical, (c) account",
        ["billing", "technical", "account"],
    ),
    "yaml": (
        "intents:\n  - name: play_music\n    description: start a song\n  - name: set_alarm\n"
        "    description: wake someone",
        ["play_music", "set_alarm"],
    ),
    "indented notes": (
        "Intents:\nplay_music\n  e.g. play some jazz\nset_alarm\n  e.g. wake me at 7",
        ["play_music", "set_alarm"],
    ),
    "columns": (
        "Valid outputs:\n  play_music      Start a song\n  set_alarm       Wake the user",
        ["play_music", "set_alarm"],
    ),
    "angle brackets": (
        "Label each as <positive>, <negative> or <neutral>.",
        ["positive", "negative", "neutral"],
    ),
    "other language": (
        "Kategorien (labels):\n- lieferung_spaet\n- r\u00fcckgabe\n- \u00e4rger",
        ["lieferung_spaet", "r\u00fcckgabe", "\u00e4rger"],
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_lists_of_ordinary_words_are_read(name):
    text, labels = PLAIN[name]
    assert list(labels_of(text)) == labels


@pytest.mark.parametrize(
    "text",
    [
        "You are a helpful support assistant. Be kind, brief and clear.",
        "Rules:\n- Be concise.\n- Never promise refunds.\n- Stay polite.",
        "Write a poem about the sea.",
        "",
    ],
)
def test_no_labels_are_read_where_there_are_none(text):
    assert labels_of(text) == ()


def test_labels_come_from_the_enum_of_a_tool():
    parameters = {
        "type": "object",
        "properties": {
            "why": {"type": "string"},
            "intent": {"type": "string", "enum": LABELS},
        },
    }
    tool = {"type": "function", "function": {"name": "sort", "parameters": parameters}}
    assert labels_of("Sort the message.", tools=(tool,)) == tuple(LABELS)


def test_labels_come_from_the_enum_of_a_response_format():
    schema = {"type": "object", "properties": {"label": {"enum": LABELS}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert labels_of("Sort the message.", response_format=wanted) == tuple(LABELS)


def test_labels_come_from_described_constants():
    branches = [{"const": name, "description": note} for name, note in NOTES.items()]
    parameters = {"type": "object", "properties": {"intent": {"oneOf": branches}}}
    tool = {"type": "function", "function": {"name": "sort", "parameters": parameters}}
    prompt = read_prompt(Source(turns=(), tools=(tool,)))
    assert prompt.labels == tuple(LABELS)
    assert any("and so on" in each.text for each in prompt.evidence)


def test_a_longer_list_is_preferred_to_a_better_headed_part_of_it():
    lists = find_label_lists("a_one\nb_two\nc_three\n\nLabels:\n- a_one\n- b_two")
    assert len(lists) == 2
