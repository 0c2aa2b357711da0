"""A tool for LangChain's agents: exact quotations instead of what a model remembers of a text."""

from typing import List

from langchain_core.tools import BaseTool, tool

import spanqa


def quotation_tool(reader: spanqa.Reader, texts: List[str]) -> BaseTool:
    """A tool that answers questions about some texts."""

    @tool
    def quote(question: str) -> str:
        """Quote the words of the user's texts that answer a question, or say that they do not answer it."""
        try:
            result = reader.ask(question, texts)
        except spanqa.RequestError as error:
            # An agent can mend its question.
            return f"error: {error.message}; {error.hint}"
        answer = result.answer
        if answer is None:
            return "The texts do not answer that."
        return f'"{answer.text}" (text {answer.document}, line {answer.line}, score {answer.score:.2f})'

    return quote
