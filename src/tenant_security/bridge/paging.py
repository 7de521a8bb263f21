"""The query parameters that all lists share."""

from typing import Annotated, Literal

from litestar.params import QueryParameter

PageNumber = Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000, description="Which page, from 1.")]
PageSize = Annotated[int, QueryParameter(name="pageSize", ge=1, le=1_000)]
Direction = Annotated[Literal["asc", "desc"], QueryParameter(name="sortDirection")]
Query = Annotated[str | None, QueryParameter(name="query", max_length=1_000)]
AssignmentSort = Annotated[Literal["active", "primary", "created", "updated"], QueryParameter(name="sortColumn")]
AssignmentStatus = Annotated[Literal["active", "disabled", "primary"] | None, QueryParameter(name="status")]
