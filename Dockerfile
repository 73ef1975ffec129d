# Two images from one file: `--target bot` (no PyTorch, no model) and `--target engine`.

FROM python:3.11-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin ovid
WORKDIR /app

FROM base AS bot
COPY requirements/bot.lock requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --requirement requirements/bot.lock
COPY wire wire
COPY bot bot
# The bot must start without the engine's half of the world.
RUN python -c "import bot.client, importlib.util as u; assert not u.find_spec('torch')"
USER ovid
CMD ["python", "-m", "bot", "run"]

FROM base AS engine
# The build for machines without an NVIDIA GPU; the gpu profile of compose.yaml sets PyPI's.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/engine.lock requirements/torch.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --requirement requirements/engine.lock \
    && pip install --index-url "${TORCH_INDEX}" --requirement requirements/torch.txt
COPY wire wire
COPY codec codec
COPY engine engine
COPY models/demo models/demo
# A new volume that is mounted here takes its owner from it.
ENV OVID_WATERMARK_KEY_FILE=/state/watermark-key
RUN install --directory --owner=ovid --mode=0700 /state
# Each command is imported only when it is called, and none may fail for want of a package then.
RUN python -c "import engine.http_api, pkgutil; from engine.__main__ import COMMANDS; \
    print([pkgutil.resolve_name(each) for each in COMMANDS.values()])"
USER ovid
CMD ["python", "-m", "engine", "serve"]
