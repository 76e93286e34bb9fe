"""A gateway that prints: for a developer without any gateway."""

from __future__ import annotations

import sys
from typing import TextIO

from otp_service.core.ports import HttpResponse, SendOutcome, SendResult, SmsMessage


class ConsoleGateway:
    """
    Prints each SMS, so it prints a live code and a phone number in clear: development only.

    Whoever reads the stream can pass the check.  Never use it where the stream is collected, shipped or shared.

    Args:
        stream: where to print; by default the standard error stream of the moment.
    """

    name = "console"
    real = False
    timeout_s = 5.0
    contract = "this one: sms_adapters/console.py"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def build_request(self, message: SmsMessage) -> SendOutcome:
        """Print the message; printed is accepted."""
        stream = self._stream or sys.stderr
        stream.write(
            f"--- SMS to {message.to}, send {message.send_number}, template {message.template_key}, "
            f"valid {message.validity_s} s (a live code: development only)\n{message.text}\n---\n"
        )
        stream.flush()
        return SendOutcome(SendResult.ACCEPTED)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Say UNKNOWN: nobody was asked, so no answer can be ours; the SMS itself has been printed."""
        return SendOutcome(SendResult.UNKNOWN, provider_code=str(response.status), maybe_sent=True)
