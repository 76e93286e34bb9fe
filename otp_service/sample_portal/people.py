"""
Made-up people to try the portal with, as ``config/sample/subscribers.csv`` has them, and accounts of an old system.

None of the numbers belongs to anybody; the passwords are written on the home page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to try with; ``birth_date`` as the form takes it, ``ends`` what the verification comes to."""

    phone_number: str
    id_number: str
    full_name: str
    birth_date: str
    ends: str


@dataclass(frozen=True, slots=True)
class OldLogin:
    """An account of an old system, with the password that a sample may show."""

    system: str
    code: str
    password: str


#: Key, as forms carry it → the name people know.
SYSTEMS: Final = {"mot-cua-mau": "Một cửa (hệ thống cũ của tỉnh, mẫu)"}

PEOPLE: Final = (
    Person("0900000001", "052090000001", "NGUYỄN VĂN A", "01/01/1990", "SIM chính chủ: đăng ký được"),
    Person("0900000002", "052190000002", "TRẦN THỊ B", "02/02/1990", "SIM chính chủ: đăng ký được"),
    Person("0900000008", "064085000008", "BÙI VĂN H", "08/08/1985", "SIM chính chủ: đăng ký được"),
    Person("0900000005", "052090000001", "NGUYỄN VĂN A", "01/01/1990", "SIM của người khác: bị từ chối"),
    Person("0900000006", "052090000006", "VÕ VĂN E", "06/06/1990", "SIM đang bị khóa: không xác nhận được"),
)

OLD_LOGINS: Final = (
    OldLogin("mot-cua-mau", "052090000001", "MotCua@2019"),
    OldLogin("mot-cua-mau", "052190000002", "MotCua@2020"),
    OldLogin("mot-cua-mau", "064085000008", "MotCua@2018"),
)
