"""
The use cases: the only place that knows the order of steps.

Handlers and the worker come in here; nothing above knows scripts, nothing below knows what comes next.

::

    callers.py           who calls, and what they ask for
    verifications.py     start, resend, check, read, cancel, redeem
    new_verification.py  what a start writes
    ownership.py         who owns the SIM: inline or by the worker
    attestation.py       who owns the SIM: the reply of 1414 that an official has read
    allowances.py        which limits a call spends
    refusals.py          how a limit's refusal is told
    tally.py             what is counted
"""

from otp_service.service.callers import Caller, Secrets, StartCommand
from otp_service.service.verifications import VerificationService

__all__ = ["Caller", "Secrets", "StartCommand", "VerificationService"]
