"""What is brought up and taken down, for use in a `with` statement."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class UpAndDown(ABC):
    """Is up inside a `with` statement, and down after it, however that ends."""

    @abstractmethod
    def up(self) -> None:
        """Bring it up and wait until it is ready; leave nothing behind if that fails."""

    @abstractmethod
    def down(self) -> None:
        """Take it down and leave nothing behind; may be called twice."""

    def __enter__(self) -> Self:
        """Bring it up."""
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it down."""
        self.down()
