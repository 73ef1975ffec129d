"""The HTTP door: OpenAI's completions, files and fine-tuning over a ModelPool. Knows no Redis."""

from engine.http_api.health import EngineHealth, health_server
from engine.http_api.options import HttpOptions
from engine.http_api.server import http_api

__all__ = ["EngineHealth", "HttpOptions", "health_server", "http_api"]
