"""The made-up operator's 1414: what comes back to an SMS from a SIM, carrier by carrier."""

from __future__ import annotations

import pytest
from support.operator import sample, subscriber

from otp_service.core.phone import Carrier
from otp_service.core.tttb.reply import TttbReplyKind, read_reply
from otp_service.web.operator.subscribers import Subscribers
from otp_service.web.operator.tttb_dialogue import NoReply, reply_to

TABLE = sample()
#: A subscriber in service with a document, by carrier.
HOLDERS = {
    Carrier.VIETTEL: ("0320000001", "052090000001"), Carrier.MOBIFONE: ("0900000001", "052090000001"),
    Carrier.VINAPHONE: ("0810000001", "052190000017"), Carrier.VIETNAMOBILE: ("0522000001", "066301000022"),
    Carrier.GMOBILE: ("0590000001", "075187000025"), Carrier.ITEL: ("0870000001", "052202000028"),
    Carrier.REDDI: ("0559000001", "036305000031"), Carrier.INDOCHINA: ("0998000001", "052190000033"),
}


class TestTexts:
    def test_viettel(self) -> None:
        """Viettel writes many accented lines, the document in full, and a link that carries it."""
        assert (
            "Thuê bao: 0320000001, đã xác thực theo quy định tại Thông tư 08/2026/TT-BKHCN.\n"
            "Thông tin giấy tờ thuê bao:\n"
            "Họ tên: NGUYỄN VĂN A, ngày sinh: 01/01/1990.\n"
            "Thẻ căn cước: 052090000001, nơi cấp: Cục trưởng CCS QLHC về trật tự xã hội, ngày cấp: 01/01/2021.\n"
            "Loại thuê bao: trả trước, ngày kích hoạt: 01/01/2022.\n"
            "Để tra cứu thuê bao cùng số giấy tờ sở hữu, truy cập: "
            "https://viettel.example/TTTB?idNo=052090000001&isdn=0320000001&otp=000000\n"
            "Liên hệ 198 (0đ).\n"
            "Trân trọng!"
        ) == reply_to(TABLE, "0320000001", "TTTB")

    def test_mobifone(self) -> None:
        """MobiFone writes one line without accents and without the document, and all of its numbers under it."""
        assert (
            "TB tra truoc ca nhan. Ho ten: NGUYEN VAN A, Ngay sinh: 01/01/1990. "
            "Danh sach so thue bao dang ky: 0900000001, 0700000001. "
            "Chi tiet truy cap app My MobiFone hoac lien he 18001090 hoac tai Cua hang MobiFone. Cam on Quy khach."
        ) == reply_to(TABLE, "0900000001", "TTTB 052090000001")

    def test_vinaphone(self) -> None:
        """VinaPhone writes the labels of the police guide; an old document is called by its name."""
        assert (
            "So TB 0830000002. Ho ten: TRUONG VAN R; Ngay sinh: 04/08/1975; So giay to: 210000018; "
            "Ngay cap: 01/01/2010; Noi cap: CONG AN TINH; Loai giay to: CMND"
        ) == reply_to(Subscribers([subscriber(
            phone_number="+84830000002", id_number="210000018", full_name="TRƯƠNG VĂN R", birth_date="1975-08-04",
            carrier=Carrier.VINAPHONE,
        )]), "0830000002", "TTTB")

    def test_list(self) -> None:
        """Vietnamobile numbers the lines of its list; another carrier's numbers are not on it."""
        rows = [
            subscriber(phone_number=f"+8452200000{at}", carrier=carrier)
            for at, carrier in enumerate([Carrier.VIETNAMOBILE, Carrier.VIETTEL, Carrier.VIETNAMOBILE])
        ]

        assert (
            "Danh sach thue bao Vietnamobile dang ky bang giay to 052090000001:\n1. 0522000000\n2. 0522000002"
        ) == reply_to(Subscribers(rows), "0522000000", "TTTB 052090000001")

    def test_carrier_is_the_tables(self) -> None:
        """A number that moved is answered in its new carrier's form; one of nobody's prefix in a plain form."""
        assert reply_to(TABLE, "0900000000", "TTTB").startswith("So TB 0900000000. Ho ten: MAI VAN U;")
        assert reply_to(Subscribers([subscriber(carrier=None)]), "0900000001", "TTTB").startswith("So TB 0900000001.")


@pytest.mark.parametrize("carrier", Carrier)
class TestEachCarrier:
    def test_record(self, carrier: Carrier) -> None:
        """What our reader makes of a reply to TTTB is the subscriber; masked or missing ID numbers are not wrong."""
        phone, document = HOLDERS[carrier]
        read = read_reply(reply_to(TABLE, phone, "TTTB"))
        row = TABLE.find(f"+84{phone[1:]}")
        shown = {Carrier.MOBIFONE: (), Carrier.INDOCHINA: (f"{document[:3]}******{document[-3:]}",)}

        assert row is not None
        assert TttbReplyKind.SUBSCRIBER == read.kind
        assert shown.get(carrier, (document,)) == read.id_numbers
        assert (row.birth_date,) == read.birth_dates
        assert (row.phone_number,) == (read.phones or read.listed)

    def test_listing(self, carrier: Carrier) -> None:
        """With their own document, the sender learns which numbers of the carrier stand under it."""
        phone, document = HOLDERS[carrier]
        read = read_reply(reply_to(TABLE, phone, f"TTTB {document}"))
        held = set(TABLE.held_with(subscriber(id_number=document, carrier=carrier)))

        assert TttbReplyKind.SUBSCRIBER == read.kind
        assert held == {*read.phones, *read.listed}

    @pytest.mark.parametrize(("text", "kind"), [
        ("TTTB 052090000099", TttbReplyKind.NEGATIVE), ("TTTB 210000099", TttbReplyKind.NEGATIVE),
        ("TTTB 1234", TttbReplyKind.WRONG_SYNTAX), ("TTTB NGUYEN VAN A", TttbReplyKind.WRONG_SYNTAX),
        ("TTB", TttbReplyKind.WRONG_SYNTAX), ("TTTBX", TttbReplyKind.WRONG_SYNTAX), ("", TttbReplyKind.WRONG_SYNTAX),
        ("TTTB 052090000001 052090000001", TttbReplyKind.WRONG_SYNTAX),
    ])
    def test_refusals(self, carrier: Carrier, text: str, kind: TttbReplyKind) -> None:
        """Another document is a negative reply, all else than the command wrong syntax; neither has any data."""
        phone, document = HOLDERS[carrier]
        said = reply_to(TABLE, phone, text)

        assert kind == read_reply(said).kind
        assert document not in said

    @pytest.mark.parametrize("row", [{"id_number": "", "full_name": ""}, {"status": "unknown"}])
    def test_nothing_on_record(self, carrier: Carrier, row: dict[str, str]) -> None:
        """Without a document TTTB brings no data, and TTTB with a number a negative reply."""
        table = Subscribers([subscriber(carrier=carrier, **row)])

        assert read_reply(reply_to(table, "0900000001", "TTTB")).kind in {
            TttbReplyKind.UNREGISTERED, TttbReplyKind.NO_DATA,
        }
        assert TttbReplyKind.NEGATIVE == read_reply(reply_to(table, "0900000001", "TTTB 052090000001")).kind


class TestCommand:
    @pytest.mark.parametrize("text", [
        "TTTB 052090000001", "tttb 052090000001", "  Tttb\n052090000001 ", "TTTB052090000001", "TTTB 052 090 000 001",
        "TTTB\u00a0052.090.000.001",
    ])
    def test_tolerance(self, text: str) -> None:
        """Case and blanks do not matter."""
        assert reply_to(TABLE, "0320000001", "TTTB 052090000001") == reply_to(TABLE, "0320000001", text)

    def test_tt(self) -> None:
        """TT is Gmobile's command, and wrong elsewhere."""
        assert reply_to(TABLE, "0590000001", "TTTB") == reply_to(TABLE, "0590000001", "tt")
        assert TttbReplyKind.WRONG_SYNTAX == read_reply(reply_to(TABLE, "0900000001", "TT")).kind

    @pytest.mark.parametrize("sender", ["0320000001", "+84320000001", "84320000001", "032.000.0001"])
    def test_sender(self, sender: str) -> None:
        """The sender is a number in any form."""
        assert reply_to(TABLE, sender, "TTTB").startswith("Thuê bao: 0320000001,")

    @pytest.mark.parametrize(("sender", "to", "reason", "status"), [
        ("0900000001", "1415", "not_1414", 404), ("0967000000", "1414", "not_a_subscriber", 404),
        ("1414", "1414", "not_a_subscriber", 404), ("0900000005", "1414", "cannot_send", 409),
        ("0900000006", "1414", "cannot_send", 409), ("0900000007", "1414", "cannot_send", 409),
    ])
    def test_silence(self, sender: str, to: str, reason: str, status: int) -> None:
        """Nothing comes back from another number, to a stranger, or to a SIM that can send nothing."""
        with pytest.raises(NoReply) as refused:
            reply_to(TABLE, sender, "TTTB", to=to)

        assert (reason, status) == (refused.value.reason, refused.value.status)
