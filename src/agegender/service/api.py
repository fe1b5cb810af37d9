"""The application around the service: routes, guard, errors in one form."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

import agegender
from agegender.service import routes
from agegender.service.description import DescribedAPI
from agegender.service.guard import CRASH, App, Guard
from agegender.service.refusal import RefusedError
from agegender.service.service import Service


def create_app(service: Service) -> App:
    """Return the ASGI application of ``service``."""
    api = create_api(service)
    guarded: App = Guard(
        api, state=service.state, tokens=service.tokens, metrics=service.metrics, crowded=service.crowded
    )
    if not service.config.cors:
        return guarded
    # Outside the guard: a browser asks without a token whether it may come, and has to be able to read a refusal.
    return CORSMiddleware(
        guarded,
        allow_origins=service.config.cors,
        allow_methods=("GET", "POST"),
        allow_headers=("Authorization", "Content-Type"),
        expose_headers=("Retry-After", "X-Image-SHA256"),
    )


def create_api(service: Service) -> FastAPI:
    """Return the routes alone, with their OpenAPI description."""
    api = DescribedAPI(
        title="agegender",
        version=agegender.__version__,
        summary="Age and gender from faces",
        description="Photos in, faces with age and gender out. Nothing that is sent is kept.",
        # FastAPI's pages load their scripts from elsewhere; ours is at /docs.
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False},
    )
    api.state.service = service
    api.include_router(routes.router)
    routes.mount_page(api)
    api.add_exception_handler(RefusedError, _refused)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _crashed)
    return api


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    request.app.state.service.metrics.refused(error.cause)
    return JSONResponse({"error": error.to_json()}, error.status, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Say in one line which option is wrong, without the value that was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:] or first["loc"])[:100]
    line = f"option {name!r}: {first['msg']}"
    if first["type"] == "extra_forbidden":
        line = f"there is no option {name!r}"
    request.app.state.service.metrics.refused("bad_option")
    return JSONResponse({"error": {"cause": "bad_option", "message": line}}, 422)


async def _http(request: Request, error: Exception) -> JSONResponse:
    """The framework's own: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    cause = {404: "not_found", 405: "method"}.get(error.status_code, "http")
    request.app.state.service.metrics.refused(cause)
    document = {"error": {"cause": cause, "message": str(error.detail)}}
    return JSONResponse(document, error.status_code, headers=error.headers)


async def _crashed(request: Request, error: Exception) -> JSONResponse:
    """Answer in our form; the framework raises the error again, and the guard logs it."""
    return JSONResponse(CRASH, 500)
