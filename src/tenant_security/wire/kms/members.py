"""What members of a KMS config have in common."""

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
"""A text that is written by a human and is not secret."""
