"""The made-up operator's KYC Match: what it compares and how it refuses, by the rules of CAMARA 0.4.0."""

from __future__ import annotations

from typing import Any

import pytest
from support.operator import BLOCKED, OWNER, OWNER_ID, STRANGER, sample, subscriber

from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier
from otp_service.web.operator.errors import ApiRefusal
from otp_service.web.operator.kyc_match import KycMatch
from otp_service.web.operator.subscribers import Subscribers

ASKED_FOR_ALL = {
    "phoneNumber": OWNER, "idDocument": OWNER_ID, "idDocumentType": "national_id_card",
    "idDocumentExpiryDate": "2030-01-01", "name": "Nguyễn Văn A", "givenName": "A", "familyName": "Nguyễn",
    "nameKanaHankaku": "x", "nameKanaZenkaku": "x", "middleNames": "Văn", "familyNameAtBirth": "x", "address": "x",
    "streetName": "x", "streetNumber": "1", "postalCode": "1", "region": "x", "locality": "x", "country": "VN",
    "houseNumberExtension": "x", "birthdate": "1990-01-01", "email": "a@example.vn", "gender": "MALE",
    "cityOfBirth": "x", "countryOfBirth": "VN", "nationality": "VN",
}


def match(body: dict[str, Any], *, kyc: KycMatch | None = None, subscribers: Subscribers | None = None) -> Any:
    """Return the answer, or status and code of the refusal."""
    try:
        return (kyc or KycMatch()).answer(body, subscribers or sample())
    except ApiRefusal as refusal:
        return refusal.status, refusal.code


class TestComparing:
    def test_all_attributes(self) -> None:
        """Each of the 24 attributes is answered when asked about; what no table holds is not available."""
        held = {"idDocument", "idDocumentType", "name", "birthdate"}

        assert {
            f"{name}Match": "true" if name in held else "not_available"
            for name in ASKED_FOR_ALL if name != "phoneNumber"
        } == match(ASKED_FOR_ALL)
        assert 25 == len(ASKED_FOR_ALL)

    @pytest.mark.parametrize(("attribute", "value", "said"), [
        ("idDocument", OWNER_ID, "true"),
        ("idDocument", "052 090 000001", "true"),
        ("idDocument", "052090000002", "false"),
        ("idDocument", "", "false"),
        ("idDocumentType", "national_id_card", "true"),
        ("idDocumentType", "passport", "false"),
        ("name", "nguyen van a", "true"),
        ("name", "Nguyễn Văn Á", "true"),
        ("name", "Nguyễn Văn B", "false"),
        ("birthdate", "1990-01-01", "true"),
        ("birthdate", "1990-01-02", "false"),
    ])
    def test_values(self, attribute: str, value: str, said: str) -> None:
        """Only what was asked is answered, as a word; names compare without accents."""
        assert {f"{attribute}Match": said} == match({"phoneNumber": OWNER, attribute: value})

    @pytest.mark.parametrize("row", [
        subscriber(id_number="", full_name="", birth_date=""), subscriber(status="unknown"),
    ], ids=["no document", "status unknown"])
    def test_nothing_on_record(self, row: Any) -> None:
        """Without a document, or where the record is in doubt, nothing is available; that is no mismatch."""
        body = {"phoneNumber": OWNER, "idDocument": OWNER_ID, "name": "A", "birthdate": "1990-01-01"}

        assert {
            "idDocumentMatch": "not_available", "nameMatch": "not_available", "birthdateMatch": "not_available",
        } == match(body, subscribers=Subscribers([row]))

    def test_a_field_missing_on_record(self) -> None:
        """A record without name or birth date answers for the document still."""
        table = Subscribers([subscriber(full_name="", birth_date="")])

        assert {"idDocumentMatch": "true", "nameMatch": "not_available", "birthdateMatch": "not_available"} == match(
            {"phoneNumber": OWNER, "idDocument": OWNER_ID, "name": "A", "birthdate": "1990-01-01"}, subscribers=table,
        )

    def test_wrong(self) -> None:
        """A script's wrong answer is the opposite of each, and not available stays."""
        body = {"phoneNumber": OWNER, "idDocument": OWNER_ID, "birthdate": "1990-01-02", "gender": "MALE"}

        assert {
            "idDocumentMatch": "false", "birthdateMatch": "true", "genderMatch": "not_available",
        } == KycMatch().answer(body, sample(), wrong=True)


class TestRefusals:
    @pytest.mark.parametrize(("body", "refusal"), [
        ({}, (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")),
        ({"phoneNumber": OWNER}, (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")),
        ({"phoneNumber": STRANGER, "nobody": "knows"}, (400, "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")),
        ({"idDocument": OWNER_ID}, (422, "MISSING_IDENTIFIER")),
        ({"phoneNumber": STRANGER, "name": "A"}, (404, "IDENTIFIER_NOT_FOUND")),
        ({"phoneNumber": BLOCKED, "name": "A"}, (422, "SERVICE_NOT_APPLICABLE")),
        ({"phoneNumber": "+84900000007", "name": "A"}, (422, "SERVICE_NOT_APPLICABLE")),
    ])
    def test_by_the_text(self, body: dict[str, Any], refusal: tuple[int, str]) -> None:
        """Nothing to compare, nobody named, a stranger and a SIM out of service have a code each."""
        assert refusal == match(body)

    @pytest.mark.parametrize("wrong", [
        {"phoneNumber": "0900000001"}, {"phoneNumber": "+84900000001\n"}, {"phoneNumber": "+049000000"},
        {"phoneNumber": 84900000001}, {"phoneNumber": None}, {"idDocument": 52090000001}, {"idDocument": None},
        {"name": ["A"]}, {"idDocumentType": "cccd"}, {"gender": "male"}, {"birthdate": "01/01/1990"},
        {"birthdate": "1990-02-30"}, {"birthdate": "19900101"}, {"birthdate": "1990-W01-1"}, {"email": "nobody"},
        {"idDocumentExpiryDate": ""},
    ])
    def test_schema(self, wrong: dict[str, Any]) -> None:
        """What breaks the schema is an invalid argument, before anything is looked up."""
        assert (400, "INVALID_ARGUMENT") == match({"phoneNumber": STRANGER, "name": "A", **wrong})

    def test_wrong_operator(self) -> None:
        """An operator knows its own subscribers alone, ported numbers among them; the prefix says nothing."""
        asked = {"name": "A"}
        vinaphone = sample(Carrier.VINAPHONE)

        assert (404, "IDENTIFIER_NOT_FOUND") == match({"phoneNumber": OWNER, **asked}, subscribers=vinaphone)
        assert {"nameMatch": "false"} == match({"phoneNumber": "+84900000000", **asked}, subscribers=vinaphone)


class TestVersions:
    def test_lenient(self) -> None:
        """0.4.0 ignores members that it does not declare."""
        assert {"nameMatch": "false"} == match({"phoneNumber": OWNER, "name": "B", "bankAccountNumber": 1})

    @pytest.mark.parametrize("wrong", [
        {"nobody": "knows"}, {"bankAccountNumber": "vn:1"}, {"country": "VNM"}, {"idDocument": "1" * 51},
    ])
    def test_strict(self, wrong: dict[str, Any]) -> None:
        """A later version refuses undeclared members, and knows more of the forms."""
        later = KycMatch("v0.5")
        good = {"phoneNumber": OWNER, "name": "B", "bankAccountNumber": "IBAN:VN1", "country": "VN"}

        assert {
            "nameMatch": "false", "bankAccountNumberMatch": "not_available", "countryMatch": "not_available",
        } == match(good, kyc=later)
        assert (400, "INVALID_ARGUMENT") == match({**good, **wrong}, kyc=later)

    def test_path(self) -> None:
        """The version stands in the path; what is no version refuses to start."""
        assert "/kyc-match/v1/match" == KycMatch("v1").path
        with pytest.raises(ConfigurationError, match=r"v0\.4"):
            KycMatch("0.4/../..")

    def test_strict_id(self) -> None:
        """An operator that insists on the document refuses without it, with another, and where it has none."""
        strict = KycMatch(strict_id=True)
        known = {"phoneNumber": OWNER, "name": "Nguyễn Văn A"}
        without = Subscribers([subscriber(id_number="")])

        assert (403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_REQUIRED") == match(known, kyc=strict)
        for table in (None, without):
            assert (403, "KNOW_YOUR_CUSTOMER.ID_DOCUMENT_MISMATCH") == match(
                {**known, "idDocument": "052090000002"}, kyc=strict, subscribers=table,
            )
        assert {"nameMatch": "true", "idDocumentMatch": "true"} == match({**known, "idDocument": OWNER_ID}, kyc=strict)
        with pytest.raises(ConfigurationError, match=r"only KYC Match v0\.4"):
            KycMatch("v0.5", strict_id=True)
