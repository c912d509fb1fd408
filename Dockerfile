# One image a role: worker (light: Celery and our own code), flower, lab (producer, collector, reports).
ARG PYTHON=3.14

# All that is installed below comes from here, and only what has its hash in requirements.lock gets in.
FROM python:${PYTHON}-slim AS wheels
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock .
RUN pip download --no-deps --only-binary=:all: --require-hashes -r requirements.lock --dest /wheels
# What each extra needs, in files of their own: these layers stay when only our own code changes.
COPY pyproject.toml .
RUN python -c 'import tomllib; \
    project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = {"base": project["dependencies"], **project["optional-dependencies"]}; \
    [open(f"/wheels/{name}.txt", "w").write("\n".join(needs)) for name, needs in extras.items()]'

FROM wheels AS ours
COPY . .
RUN pip wheel --no-deps --no-index --find-links=/wheels --wheel-dir /ours .

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
ARG PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin poolproof
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels pip install -r /wheels/base.txt
WORKDIR /tmp

FROM base AS worker
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels pip install -r /wheels/gevent.txt
RUN --mount=type=bind,from=ours,source=/ours,target=/ours pip install --no-deps /ours/*.whl
USER poolproof
CMD ["poolproof", "worker"]

FROM base AS flower
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels pip install -r /wheels/flower.txt
RUN --mount=type=bind,from=ours,source=/ours,target=/ours pip install --no-deps /ours/*.whl
USER poolproof
CMD ["celery", "--app", "poolproof_workers.app", "flower", "--enable_events=False"]

FROM base AS lab
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels pip install -r /wheels/lab.txt
COPY --chmod=755 scripts/as-owner /usr/local/bin/
RUN --mount=type=bind,from=ours,source=/ours,target=/ours pip install --no-deps /ours/*.whl
USER poolproof
CMD ["poolproof", "--help"]
