"""A reader for Haystack 2: what retrievers find goes in, exact quotations come out."""

from typing import Any, Dict, List, Optional

from haystack import Document, component
from haystack.dataclasses import ExtractedAnswer

import spanqa


@component
class SpanqaReader:
    """Quotes the answers to a query from documents, the best first, or says that there is none."""

    def __init__(self, model: Optional[str] = None, top_k: int = 3, **options: Any) -> None:
        self.model = model
        self.top_k = top_k
        self.options = options
        self._reader: Optional[spanqa.Reader] = None

    def warm_up(self) -> None:
        """Opens the model."""
        if self._reader is None:
            self._reader = spanqa.Reader(self.model, top_k=self.top_k, **self.options)

    @component.output_types(answers=List[ExtractedAnswer])
    def run(self, query: str, documents: List[Document]) -> Dict[str, Any]:
        readable = [document for document in documents if document.content]
        if not readable:
            return {"answers": []}
        self.warm_up()
        assert self._reader is not None
        # They are read as one: their answers compete.
        result = self._reader.ask(query, [str(document.content) for document in readable])
        answers = [
            ExtractedAnswer(
                query=query,
                score=answer.score,
                data=answer.text,
                document=readable[int(answer.document)],
                document_offset=ExtractedAnswer.Span(answer.start, answer.end),
            )
            for answer in result.answers
        ]
        return {"answers": answers}
