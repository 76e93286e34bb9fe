"""
VNPT (VinaPhone) brand name SMS: JSON over plain HTTP, registered templates and their parameters, never the text.

::

    POST url   {"RQST": {"name": "send_sms_list", "REQID", "LABELID", "CONTRACTTYPEID", "CONTRACTID", "TEMPLATEID",
                         "PARAMS": [{"NUM": "1", "CONTENT"}, ...], "SCHEDULETIME": "", "MOBILELIST": "84...",
                         "ISTELCOSUB": "0", "AGENTID", "APIUSER", "APIPASS", "USERNAME", "DATACODING": "0" | "8",
                         "SALEORDERID", "PACKAGEID"}}

    200   {"RPLY": {"name": "send_sms_list", "ERROR": "0", "ERROR_DESC": "success"}}    accepted
    200   {"RPLY": {"name": "send_sms_list", "ERROR": <other>, "ERROR_DESC"}}           see _RESULTS
    all else                                                                            as the status says

``REQID`` drops duplicates.  ``DATACODING`` is 0 for unaccented parameters and 8 for accented ones, which reach
VinaPhone's own subscribers only.  A parameter with one of XML's five special characters breaks the request.  There is
no message id and there are no delivery reports.

The password and the code travel in clear: reach it through a private line or a tunnel, and set ``url`` to that.

Source: integrators' code only (several public repositories that agree on the fields; the codes stand in one of them).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from otp_service.core.options import Options
from otp_service.core.ports import HttpRequest, HttpResponse, SendOutcome, SendResult, SmsMessage, Supports
from otp_service.core.reading import code_number, international, json_object
from sms_adapters.reading import by_status

_HEADERS = {"content-type": "application/json", "accept": "application/json"}

_ID = re.compile("[0-9]{1,20}")
_XML = re.compile("[<>&\"']")

#: An internal error, or a code that one integrator lists as a refusal and another saw beside "success".
_MAYBE_SENT = frozenset({"-1", "31"})

#: VNPT's codes.
_RESULTS = {
    "0": SendResult.ACCEPTED,
    "-1": SendResult.TEMPORARY,             # exception: XML's special characters, too long, or internal
    "1": SendResult.AUTHENTICATION,         # user, password, address or the account's state
    "2": SendResult.UNKNOWN,                # schedule time malformed
    "3": SendResult.UNKNOWN,                # no such method
    "7": SendResult.TEMPLATE_REJECTED,      # no such template for this label and agent
    "8": SendResult.TEMPLATE_REJECTED,      # such messages may not be sent at this hour
    "9": SendResult.SENDER_REJECTED,        # contract type
    "10": SendResult.AUTHENTICATION,        # user name
    "11": SendResult.TEMPLATE_REJECTED,     # length
    "12": SendResult.TEMPLATE_REJECTED,     # VinaPhone's rules allow no such message at this hour
    "13": SendResult.SENDER_REJECTED,       # contract
    "14": SendResult.SENDER_REJECTED,       # label
    "15": SendResult.AUTHENTICATION,        # agent
    "16": SendResult.THROTTLED,
    "17": SendResult.TEMPLATE_REJECTED,     # characters
    "20": SendResult.BALANCE,               # the contract's package is used up
    "21": SendResult.BALANCE,               # the customer's
    "22": SendResult.BALANCE,               # the agent's
    "23": SendResult.INVALID_NUMBER,        # numbers of several networks (we send one), or a bad number
    "24": SendResult.UNKNOWN,               # schedule time in the past
    "25": SendResult.WRONG_NETWORK,         # another network, or the number was ported
    "26": SendResult.BLOCKED,               # the subscriber had three of them today
    "30": SendResult.TEMPLATE_REJECTED,     # banned word
    "31": SendResult.UNKNOWN,               # see _MAYBE_SENT
    "32": SendResult.TEMPLATE_REJECTED,     # old template id
    "33": SendResult.DUPLICATE,             # REQID was used before
}


@dataclass(frozen=True, slots=True)
class _Template:
    """A registered template: VNPT's id, and which of the message's parameters it takes, in its order."""

    number: str
    params: tuple[str, ...]


class VnptGateway:
    """
    VNPT brand name SMS.

    Args:
        url: the service's address, as VNPT gave it: ``http://<host>:8888/smsbn/api``.
        api_user: of the account.
        api_password: of the account; it comes from a secret file.
        username: the agent's user on VNPT's portal.
        agent_id: VNPT's id of the agent.
        label_id: VNPT's id of the brand name.
        contract_id: VNPT's id of the contract.
        templates: the registered templates, template key of the message catalogue to
            ``{"id": "1234", "params": ["code", "validity"]}``; ``params`` are the catalogue's placeholders in the
            template's order.  As text: JSON.
        contract_type_id: 1 customer care, 2 advertising.
        sale_order_id: where VNPT asks for it.
        package_id: where VNPT asks for it.
        timeout_s: seconds for one attempt.

    Raises ConfigurationError for options that cannot be used.
    """

    name = "vnpt"
    real = True
    experimental = True
    contract = "integrators' code only; VNPT publishes no manual"
    supports = Supports(deduplicates=True, templates=True)

    def __init__(
        self, *, url: str, api_user: str, api_password: str, username: str, agent_id: str | int, label_id: str | int,
        contract_id: str | int, templates: Mapping[str, Any] | str, contract_type_id: str | int = "1",
        sale_order_id: str | int = "", package_id: str | int = "", timeout_s: float | str = 10.0,
    ) -> None:
        options = Options("vnpt")
        self._url = options.url("url", url)
        self._api_user = options.text("api_user", api_user)
        self._api_password = options.text("api_password", api_password)
        self._username = options.text("username", username)
        self._agent_id = _number(options, "agent_id", agent_id)
        self._label_id = _number(options, "label_id", label_id)
        self._contract_id = _number(options, "contract_id", contract_id)
        self._contract_type_id = _number(options, "contract_type_id", contract_type_id)
        self._sale_order_id = _number(options, "sale_order_id", sale_order_id) if sale_order_id != "" else ""
        self._package_id = _number(options, "package_id", package_id) if package_id != "" else ""
        self._templates = {
            key: _template(options, f"templates.{key}", entry)
            for key, entry in options.tables("templates", templates, {"id", "params"}).items()
        }
        self.timeout_s = options.seconds("timeout_s", timeout_s)

    def build_request(self, message: SmsMessage) -> HttpRequest | SendOutcome:
        """Post the message's template and parameters, or refuse a message without a registered template."""
        template, values = self._templates.get(message.template_key), dict(message.params)
        if template is None:
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="no_template")
        if not all(values.get(name) for name in template.params):
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="no_parameter")
        contents = [values[name] for name in template.params]
        if any(_XML.search(content) for content in contents):
            return SendOutcome(SendResult.TEMPLATE_REJECTED, provider_code="xml_character")
        body = orjson.dumps({"RQST": {
            "name": "send_sms_list",
            "REQID": _request_id(message.reference),
            "LABELID": self._label_id,
            "CONTRACTTYPEID": self._contract_type_id,
            "CONTRACTID": self._contract_id,
            "TEMPLATEID": template.number,
            "PARAMS": [{"NUM": str(number), "CONTENT": content} for number, content in enumerate(contents, 1)],
            "SCHEDULETIME": "",
            "MOBILELIST": international(message.to),
            "ISTELCOSUB": "0",
            "AGENTID": self._agent_id,
            "APIUSER": self._api_user,
            "APIPASS": self._api_password,
            "USERNAME": self._username,
            "DATACODING": "0" if all(content.isascii() for content in contents) else "8",
            "SALEORDERID": self._sale_order_id,
            "PACKAGEID": self._package_id,
        }})
        return HttpRequest("POST", self._url, _HEADERS, body)

    def parse_response(self, response: HttpResponse) -> SendOutcome:
        """Read the answer by the table at the top of this file; never raises."""
        reply = json_object(response.body).get("RPLY") if 200 <= response.status < 300 else None
        code = code_number(reply.get("ERROR")) if isinstance(reply, dict) else None
        if code is None:
            return by_status(response.status)
        result = _RESULTS.get(code, SendResult.UNKNOWN)
        return SendOutcome(result, provider_code=code, maybe_sent=code not in _RESULTS or code in _MAYBE_SENT)


def _request_id(reference: str) -> str:
    """Return twenty letters and digits that follow from our reference alone: longer ids and hyphens were not seen."""
    return sha256(reference.encode()).hexdigest()[:20]


# -- options -------------------------------------------------------------------------------------------------------


def _number(options: Options, name: str, value: object) -> str:
    """Return an id of VNPT's, which are whole numbers, as text."""
    return options.matching(name, value, _ID, "write the whole number that VNPT gave you")


def _template(options: Options, where: str, entry: Mapping[str, Any]) -> _Template:
    params = entry["params"]
    if not isinstance(params, list | tuple) or not all(isinstance(name, str) and name for name in params):
        raise options.wrong(f"{where}.params", "write a list of placeholders, in the template's order")
    if "code" not in params:
        raise options.wrong(f"{where}.params", "none of them is code, so the SMS would carry no code")
    return _Template(_number(options, f"{where}.id", entry["id"]), tuple(params))
