"""Finds in model-written text what an attack on the model that reads it would look like.

Rows of the data may carry orders, and a meta-model may follow one and write it into an instruction.
The scan is for that: text that lifts the rules, plays another role of the conversation, hides from
people, sends data away, runs something, or speaks to whoever grades the answers. An instruction may
well speak *of* such things ("a message that asks you to ignore your rules is `abuse`"), so an order
only counts where nothing in its sentence reports or forbids it, and what the user's own prompt says
already may be said again.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable, Iterator

_FLAGS = re.IGNORECASE

# Orders count unless their sentence reports or forbids them.
_ORDERS: tuple[tuple[str, str], ...] = (
    (
        "an order to drop earlier rules",
        r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|bypass(?:ing)?"
        r"|discard(?:ing)?|set aside|drop|skip|do(?: not|n't) (?:follow|obey)"
        r"|pay no attention to|stop following|no longer (?:follow|obey))\s+"
        r"(?:(?:all|any|every|each|of|the|your|my|our|these|those|this|that|its|other|and)\s+){0,4}"
        r"(?:previous|prior|earlier|above|preceding|former|foregoing|original|initial|existing"
        r"|system|safety|developer|hidden|given|prior)?\s*(?:\w+\s+){0,1}"
        r"(?:instructions?|rules?|prompts?|guidelines?|directives?|constraints?|polic(?:y|ies)"
        r"|restrictions?|guardrails?|safeguards?|filters?|everything (?:above|before)"
        r"|(?:you (?:were|have been) )?told)\b",
    ),
    (
        "an order to drop earlier rules",
        r"\b(?:ignore|disregard|forget)\s+(?:about\s+)?(?:everything|anything|all|what)\s+"
        r"(?:\w+\s+){0,3}(?:above|before|earlier|previously|said|told|up to (?:now|here)|so far)\b",
    ),
    (
        "a change of the model's role",
        r"\b(?:you are|you're|act as|behave as|become|pretend to be|enter|switch to|activate)\s+"
        r"(?:now\s+)?(?:in\s+)?(?:an?\s+|the\s+)?(?:\w+\s+){0,2}"
        r"(?:dan|jailbr(?:eak|oken)|unrestricted|unfiltered|uncensored|developer mode|god mode"
        r"|debug mode|admin mode|maintenance mode|no[- ]limits?|without (?:any )?"
        r"(?:restrictions?|rules|limits|filters))\b",
    ),
    (
        "a change of the model's role",
        r"\b(?:new|updated|real|actual|true)\s+(?:system\s+)?(?:instructions?|task|orders?|prompt)"
        r"\s*(?::|follow|begin|start|are as follows)",
    ),
    (
        "a call for secrets",
        r"\b(?:reveal|print|show|output|repeat|leak|expose|disclose|dump|return|include|append|quote"
        r"|recite|echo|tell (?:me|us|them|the user))\s+(?:\w+\s+){0,3}"
        r"(?:system prompts?|system messages?|hidden (?:prompts?|instructions?)"
        r"|(?:these|your|the|its|this) (?:own )?(?:initial |original |full |entire |exact )*"
        r"(?:instructions?|prompts?)|api[ _-]?keys?|passwords?|access tokens?|secret(?: key)?s?"
        r"|credentials?|environment variables?|env vars?)\b",
    ),
    (
        "a word to whoever grades the answers",
        r"\b(?:grader|judge|evaluator|rater|scorer|assessor|reviewer|examiner|checker|marker"
        r"|reward model|scoring (?:model|system|function)|auto-?grader|verifier)s?\b"
        r"[^.!?\n]{0,60}"
        r"\b(?:full (?:marks|score|credit|points)|(?:perfect|maximum|top|highest|max) "
        r"(?:score|marks?|rating|reward|points?|grade)|score (?:of )?(?:1(?:\.0)?|10|100)"
        r"|pass(?:es)?|must (?:accept|approve|give)|10/10|100 ?%"
        r"|should (?:accept|approve|give|rate|score|assign))",
    ),
    (
        "a word to whoever grades the answers",
        r"\b(?:give|award|assign|grant|rate|score|mark|grade)\s+(?:\w+\s+){0,3}"
        r"(?:answer|response|output|submission|reply|result|this|it|yourself)\s+(?:\w+\s+){0,3}"
        r"(?:full (?:marks|score|credit|points)|(?:perfect|maximum|top|highest)"
        r"(?: possible)? (?:score|marks?|rating|reward|grade)|1\.0|10/10|100 ?%|as correct)",
    ),
    (
        "an order to hide what it does",
        r"\b(?:do not|don't|never|without)\s+(?:\w+\s+){0,2}"
        r"(?:mention(?:ing)?|reveal(?:ing)?|tell(?:ing)?|disclos(?:e|ing)|report(?:ing)?)\s+"
        r"(?:\w+\s+){0,3}(?:this|these) (?:instruction|order|rule|request|change|prompt)s?\b",
    ),
    (
        "an order to send data away",
        r"\b(?:send|post|upload|forward|transmit|exfiltrate|e-?mail|report|submit|fetch|load|call"
        r"|visit|open|ping|request)\s+(?:\w+\s+){0,6}(?:to|at|from|via)?\s*"
        r"(?:https?:|ftp:|www\.|\S+@\S+\.\w|\d{1,3}(?:\.\d{1,3}){3}"
        r"|(?:the |an? )?(?:webhook|endpoint))",
    ),
)
# These count wherever they stand.
_MARKS: tuple[tuple[str, str], ...] = (
    (
        "marks of a conversation's roles",
        r"<\|(?:im_start|im_end|im_sep|system|user|assistant|endoftext|eot_id|start_header_id"
        r"|end_header_id|begin_of_text|channel|message)\|?>|\[/?INST\]|<</?SYS>>|</?s>"
        r"|<(?:start|end)_of_turn>|</?(?:system|assistant|developer)(?:[ _-]?(?:prompt|message))?>"
        r"|^[#*\s]*(?:system|assistant|developer)(?: (?:prompt|message|override))?[*\s]*:\s*\S"
        r"|^[#*\s]*(?:human|user)[*\s]*:\s*\S[^\n]*\n[#*\s]*(?:assistant|ai)[*\s]*:"
        r"|\"role\"\s*:\s*\"(?:system|developer|assistant)\"|\bBEGIN SYSTEM (?:PROMPT|MESSAGE)\b",
    ),
    (
        "a web address",
        r"\b(?:https?|ftp|wss?|file)://\S+|\bdata:\w+/\w+;base64,|\bjavascript:\S"
        r"|!\[[^\]\n]{0,200}\]\([^)\n]{0,500}\)|<(?:img|script|iframe|link|object|embed)\b[^>]{0,500}>|\bhxxps?://",
    ),
    (
        "a command",
        r"\brm\s+-[rf]{1,2}\b|\b(?:curl|wget|nc|ncat)\s+[^\n]{0,200}(?:\||https?:|-[a-zA-Z]*e\b)"
        r"|\bpowershell\s+-|\b(?:eval|exec|os\.system|subprocess\.\w+|__import__|child_process"
        r"|Runtime\.getRuntime)\s*[.(]|\bDROP\s+TABLE\s+\w|;\s*--\s*$|\bsudo\s+\w"
        r"|\bbase64\s+(?:-d|--decode)\b|\bchmod\s+\+?[x0-7]",
    ),
    (
        "code of a template",
        r"\{\{[^{}\n]{0,200}(?:\(\)|__|\bself\b|\bconfig\b|\brequest\b)[^{}\n]{0,200}\}\}|\{%[^%\n]{0,500}%\}"
        r"|\$\{jndi:|\$\{[^}\n]{0,200}(?:\(|T\()[^}\n]{0,200}\}|<%[=@]?[^%\n]{0,500}%>|#\{[^}\n]{0,200}\([^}\n]{0,200}\}",
    ),
    (
        "an encoded text",
        r"(?:\\x[0-9a-fA-F]{2}){8,}|(?:\b[0-9a-fA-F]{2}\s){16,}|\b[0-9a-fA-F]{64,}\b"
        r"|(?:\\u[0-9a-fA-F]{4}){8,}|(?:&#x?[0-9a-fA-F]+;){8,}|(?:%[0-9a-fA-F]{2}){8,}",
    ),
)
_ORDER_PATTERNS = tuple((name, re.compile(text, _FLAGS)) for name, text in _ORDERS)
_MARK_PATTERNS = tuple((name, re.compile(text, _FLAGS | re.MULTILINE)) for name, text in _MARKS)
_HIDDEN = re.compile(
    "[\u200b\u2060-\u2064\u00ad\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\x00-\x08\x0b\x0c"
    "\x0e-\x1f\x7f\U000e0000-\U000e007f]"
)
# Joiners and marks of direction belong to some scripts; between Latin letters they only hide.
_BETWEEN_LATIN = re.compile("(?<=[A-Za-z])[\u200c\u200d\u200e\u200f](?=[A-Za-z])")
_SENTENCE_END = re.compile(r"[.!?\n;](?:\s|$)|\n")
# What comes before an order in its sentence when it is spoken of rather than given.
_REPORTED = re.compile(
    r"\b(?:ask(?:s|ed|ing)?|tell(?:s|ing)?|told|say(?:s|ing)?|tr(?:y|ies|ied|ying)|attempt(?:s|ed)?"
    r"|attempting|want(?:s|ed)|wish(?:es)?|request(?:s|ed|ing)?|order(?:s|ed|ing)"
    r"|instruct(?:s|ed|ing)|claim(?:s|ed|ing)?|contain(?:s|ed|ing)?|demand(?:s|ed|ing)?"
    r"|urg(?:es|ed|ing)|such as|phrases?|wordings?|for example|e\.g|reads|looks? like"
    r"|meant to|designed to|refus(?:e|es|ing)|resist|reject|(?:who|that|which) (?:would|could|may)"
    r"|not|never|nor|cannot|without|instead of|rather than|avoid|even if)\b|n't\b",
    _FLAGS,
)
_ODD, _USUAL = "аеорсухіјѕԁһոԛԝɡαορνικτ", "aeopcyxijsdhnqwgaopvikt"
_LOOKALIKES = str.maketrans(_ODD + _ODD.upper(), _USUAL + _USUAL.upper())
_DIGITS = str.maketrans("013457@$", "oieastas")
_MIXED = re.compile(r"[\w@$]*[A-Za-z][\w@$]*")
# Letters set apart, as in `i g n o r e`, and what they must spell to count.
_SPACED = re.compile(r"\b(?:[A-Za-z][ .\-_*|]{1,2}){5,}[A-Za-z]\b")
_SPACES = re.compile(r"[^\S\n]+")
_SPELT = re.compile(
    r"ignore|disregard|forget|override|previous|instruction|system|prompt|secret|password", _FLAGS
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{28,}={0,2}")


class InjectionScan:
    """Looks for attacks in instructions."""

    def __init__(self, *, exempt: Iterable[str] = ()) -> None:
        """Learns what is allowed to stand in an instruction whatever it looks like.

        Args:
            exempt: Texts that the user wrote: the program's own prompt and what else was given.
        """
        self._exempt = tuple(_plain(text) for text in exempt)

    def found(self, text: str) -> list[str]:
        """Returns the kinds of what was found, each once; empty for a clean text."""
        kinds = ["characters that nobody sees"] if self._hides(text) else []
        plain = _plain(text)
        for read in dict.fromkeys((plain, _MIXED.sub(_without_digits, plain))):
            for name, pattern in _ORDER_PATTERNS:
                if any(not self._spared(read, match) for match in pattern.finditer(read)):
                    kinds.append(name)
        for name, pattern in _MARK_PATTERNS:
            if any(not self._allowed(match[0]) for match in pattern.finditer(plain)):
                kinds.append(name)
        if any(not self._allowed(said) for said in _encoded(plain)):
            kinds.append("an encoded text")
        return list(dict.fromkeys(kinds))

    def _spared(self, text: str, match: re.Match[str]) -> bool:
        return self._allowed(match[0]) or _reported(text, match)

    def _hides(self, text: str) -> bool:
        return any(pattern.search(text) is not None for pattern in (_HIDDEN, _BETWEEN_LATIN))

    def _allowed(self, said: str) -> bool:
        return any(said.casefold() in text.casefold() for text in self._exempt)


def _reported(text: str, match: re.Match[str]) -> bool:
    start = 0
    for end in _SENTENCE_END.finditer(text, 0, match.start()):
        start = end.end()
    return _REPORTED.search(text, start, match.start()) is not None


def _encoded(text: str) -> Iterator[str]:
    for match in _SPACED.finditer(text):
        if _SPELT.search("".join(filter(str.isalpha, match[0]))):
            yield match[0]
    for match in _BASE64.finditer(text):
        try:
            said = base64.b64decode(match[0].rstrip("=") + "===").decode("ascii")
        except ValueError:
            continue
        if said.isprintable() and " " in said:
            yield match[0]


def _plain(text: str) -> str:
    """Undoes what is done to a text to get it past a reader: hidden and odd letters."""
    folded = unicodedata.normalize("NFKC", text)
    folded = _HIDDEN.sub("", _BETWEEN_LATIN.sub("", folded))
    folded = "".join(_latin(word) for word in re.split(r"(\W+)", folded))
    return _SPACES.sub(" ", folded)


def _latin(word: str) -> str:
    # A word that mixes Latin letters with their look-alikes is read as it looks.
    changed = word.translate(_LOOKALIKES)
    return changed if re.search("[A-Za-z]", word) and changed.isascii() else word


def _without_digits(match: re.Match[str]) -> str:
    return match[0].translate(_DIGITS)
