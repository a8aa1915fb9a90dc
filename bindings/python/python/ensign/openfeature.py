"""The OpenFeature provider: evaluation in process by `ensign.Client`, in OpenFeature's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from . import Client

__all__ = ["EnsignProvider"]

_REASONS = {reason.value: reason for reason in Reason}
_FITS = {
    "boolean": ("boolean",),
    "string": ("string",),
    "integer": ("integer",),
    "float": ("float", "integer"),
    "object": ("json",),
}


class EnsignProvider(AbstractProvider):
    """Evaluates with a client. `EnsignProvider(url=…, key=…)` makes one of its own and closes it at shutdown."""

    def __init__(self, client: Client | None = None, **settings: Any) -> None:
        super().__init__()
        self._owned = client is None
        self._client = client if client is not None else Client(wait=0, **settings)
        self._details = self._client._core.details
        self._metadata = Metadata("ensign")

    @property
    def client(self) -> Client:
        """The client, to report what happened with."""
        return self._client

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        if not self._client.wait_ready(5.0):
            raise ProviderNotReadyError("there is no ruleset yet; it is served as soon as it comes")
        self._client._listeners.append(self._changed)

    def shutdown(self) -> None:
        if self._changed in self._client._listeners:
            self._client._listeners.remove(self._changed)
        if self._owned:
            self._client.close()

    def _changed(self, revision: int, flags: list[str]) -> None:
        if hasattr(self, "_on_emit"):
            self.emit_provider_configuration_changed(
                ProviderEventDetails(flags_changed=flags, metadata={"revision": revision})
            )

    def get_metadata(self) -> Metadata:
        return self._metadata

    def _resolve(self, kind: str, flag: str, default: Any, context: EvaluationContext | None) -> Any:
        if context is None:
            found = self._details(flag)
        else:
            found = self._details(flag, context.targeting_key, context.attributes or None)
        value, variant, reason, error, got, metadata = found
        if error is not None:
            return FlagResolutionDetails(
                default, ErrorCode(error), f"flag {flag!r}: {error}", Reason.ERROR, None, metadata
            )
        if value is None and got == "none":
            # The flag leaves it to the caller.
            return FlagResolutionDetails(default, None, None, _REASONS[reason], None, metadata)
        if got not in _FITS[kind]:
            message = f"flag {flag!r} has values of type {got}, not {kind}"
            return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, message, Reason.ERROR, None, metadata)
        if kind == "float":
            value = float(value)
        return FlagResolutionDetails(value, None, None, _REASONS[reason], variant, metadata)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve("boolean", flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve("string", flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve("integer", flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve("float", flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Any]:
        return self._resolve("object", flag_key, default_value, evaluation_context)

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Reports an outcome: the event's name is the metric, `value` (default 1) the value, and the attributes
        `flags` (keys) and `token` say what it belongs to."""
        attributes = {} if tracking_event_details is None else tracking_event_details.attributes
        value = None if tracking_event_details is None else tracking_event_details.value
        value = 1.0 if value is None else float(value)
        token = attributes.get("token")
        if isinstance(token, str):
            self._client.outcome(token, tracking_event_name, value)
            return
        context = evaluation_context or EvaluationContext()
        flags = attributes.get("flags", ())
        keys = [flags] if isinstance(flags, str) else [str(key) for key in flags]  # type: ignore[union-attr]
        variants = [
            self._client.variant(key, unit=context.targeting_key, context=dict(context.attributes)) for key in keys
        ]
        if variants:
            self._client.outcome(variants, tracking_event_name, value)
