# The service: docker build -t agegender . && docker run --rm -p 127.0.0.1:8000:8000 agegender
FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE requirements.txt requirements-serve.txt ./
COPY src src
COPY models models
# The versions of the requirements, without what only training needs.
RUN python -m venv /opt/agegender \
    && /opt/agegender/bin/pip install --no-cache-dir -c requirements.txt -c requirements-serve.txt ".[onnx,serve]"

FROM python:3.11-slim
# OpenCV's wheel wants these two of the system.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/agegender /opt/agegender
WORKDIR /tmp
# Nothing is written: the root file system may be read-only. And ONNX Runtime tells its makers nothing.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/agegender/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["/opt/agegender/bin/agegender", "serve", "--host", "0.0.0.0"]
CMD []
