"""
The names of the texts that people read on pages: section [page] of each ``config/messages/<locale>.toml``.

The hosted page (``web/pages``) and the drop-in element (``web/element``) say the same things in the same words.
Start-up refuses a catalogue that lacks one of them or has another.
"""

from __future__ import annotations

from typing import Final

#: What every text of [page] may contain; whoever fills one fills them all.  ``action`` is what the purpose is for,
#: ``time`` is a time of day or a duration,
#: ``sms_mark`` what the SMS says of its number.
PAGE_PLACEHOLDERS: Final = frozenset({
    "action", "attempts_left", "code_length", "hotline", "phone", "portal", "send_number", "sends_left", "sms_mark",
    "time",
})

PAGE_TEXTS: Final = (
    # around everything
    "own_name", "for_portal", "hotline", "back", "error",
    # what the purpose is for; purposes of one's own have the default
    "action_registration", "action_account_link", "action_sign_in", "action_password_reset",
    "action_assisted_registration", "action_default",
    # the code
    "code_heading", "over_heading", "code_sent", "code_which", "code_failed", "sms_mark", "code_label", "code_until",
    "code_left", "attempts_left", "submit", "only_you", "keep_secret", "wrong_phone", "wrong_phone_back",
    # the SMS
    "resend_heading", "resend", "resend_in", "resend_now", "resends_left", "resends_none", "resend_advice",
    "delivery_queued", "delivery_sent", "delivery_delivered", "delivery_failed", "delivery_failed_last",
    # what has just happened
    "said_resent", "said_wrong_code", "sending", "offline",
    # the carrier is asked
    "checking_heading", "checking_before", "checking_wait",
    # the end
    "verified_heading", "rejected_heading", "expired_heading", "locked_heading", "cancelled_heading",
    "undeliverable_heading", "rejected_text", "what_to_do", "step_tttb", "open_sms", "step_vneid", "step_carrier",
    "step_again", "undeliverable_advice",
    # no verification to show
    "entering", "gone_heading", "gone_text", "unavailable_heading", "unavailable_text", "trouble_heading",
    "trouble_text", "try_again",
    # the drop-in element alone
    "element_code_over", "element_press_again", "element_proving",
)
