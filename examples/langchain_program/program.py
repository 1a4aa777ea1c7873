"""A LangChain program as anybody writes one: it knows nothing of Burnish."""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI

PROMPT = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "You classify customer messages. Choose the one intent that fits the message best."
            " Reply with only the name of the intent.",
        ),
        ("user", "Message: {message}\n\nIntents:\n{intents}"),
    ]
)


def chain(model: ChatOpenAI) -> Runnable[dict[str, str], str]:
    """Returns the program."""
    return PROMPT | model | StrOutputParser()
