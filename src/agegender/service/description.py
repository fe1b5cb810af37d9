"""The OpenAPI description, with what options and embeddings have to be for the service that gives it."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI

from agegender.service.service import Service

Document = dict[str, Any]


class DescribedAPI(FastAPI):
    """FastAPI whose description fits ``state.service``."""

    def openapi(self) -> Document:
        """Return the description, made once."""
        if self.openapi_schema is None:
            # Parts of it are the routes' own, which other services of this process share.
            self.openapi_schema = copy.deepcopy(super().openapi())
            _fit(self.openapi_schema, self.state.service)
        return self.openapi_schema


def _fit(document: Document, service: Service) -> None:
    paths = document["paths"]
    for path in ("/v1/analyze", "/v1/embeddings"):
        option = next(each for each in paths[path]["post"]["parameters"] if each["name"] == "min_face")
        for kind in _kinds(option["schema"]):
            kind["minimum"] = max(kind["minimum"], service.min_face)
    if service.vector_net is not None:
        content = paths["/v1/faces/embeddings"]["post"]["requestBody"]["content"]
        row = content["application/json"]["schema"]["properties"]["embeddings"]["items"]
        row["minItems"] = row["maxItems"] = service.vector_net.width


def _kinds(schema: Document) -> list[Document]:
    """Return the schemas of an option's numbers, without that of null."""
    return [kind for kind in schema.get("anyOf", [schema]) if "minimum" in kind]
