"""The published protocols: degrade a folder of pictures, restore it by several methods, compare with the truth."""

from usrnet.evaluate.protocols import PROTOCOLS, Protocol, Row, published_rows
from usrnet.evaluate.report import write_reports
from usrnet.evaluate.run import Evaluation, Results, Score

__all__ = ["PROTOCOLS", "Evaluation", "Protocol", "Results", "Row", "Score", "published_rows", "write_reports"]
