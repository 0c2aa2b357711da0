"""Extractive question answering: quotes the words of a text that answer a question, or says that there are none.

>>> import spanqa
>>> with spanqa.Reader() as reader:
...     reader.ask("Who left?", "Olav Brekke left in 1986.").text
'Olav Brekke'

The work is done by the program `spanqa`, which this package brings along and runs as a child process.
"""

# Under their names only: in `__all__` they would displace the modules of the engines.
from . import dask as dask
from . import ray as ray
from . import spark as spark
from ._errors import CrashError, Error, RequestError, StartError
from ._program import find_program
from ._requests import Request
from ._results import Answer, Result
from .pipeline import QuestionAnsweringPipeline, pipeline
from .reader import Reader

__all__ = [
    "Answer",
    "CrashError",
    "Error",
    "QuestionAnsweringPipeline",
    "Reader",
    "Request",
    "RequestError",
    "Result",
    "StartError",
    "find_program",
    "pipeline",
]
