"""The key file: made once, read by its owner alone, rotated without a gap, never overwritten when damaged."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from otp_service.core.errors import ConfigurationError
from otp_service.core.keyring import KeyRing
from otp_service.core.result_token import SigningKey
from otp_service.key_file import ACTIVATE_IN_S, KEEP_S, MAX_RING_KEYS, PUBLISH_S, KeyFile

NOW_S = 1_800_000_000
DAY_S = 24 * 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the key file will be."""
    return tmp_path / "data" / "keys.json"


@pytest.fixture
def keys(path: Path) -> KeyFile:
    """Return a key file just made."""
    keys = KeyFile(path)
    keys.load_or_create()
    return keys


def content(path: Path) -> dict[str, Any]:
    """Return what stands in the file."""
    tree: dict[str, Any] = json.loads(path.read_bytes())
    return tree


def ids(ring: KeyRing) -> list[str]:
    """Return the ids of a ring's keys, the current one first."""
    return list(ring._derived)


def kids(keys: list[SigningKey], *, test: bool = False) -> list[str]:
    """Return the published key ids of one kind, the newest first."""
    return [key.kid for key in keys if key.test is test]


def active(keys: list[SigningKey], *, test: bool = False) -> str:
    """Return the one key id that signs."""
    (kid,) = [key.kid for key in keys if key.active and key.test is test]
    return kid


# -- made once --------------------------------------------------------------------------------------------------------


def test_it_is_made_on_first_use(keys: KeyFile, path: Path) -> None:
    """A new file has an anchor, the ring key k1 and a signing key for live and for test."""
    tree = content(path)

    assert ["version", "anchor", "next_id", "ring", "signing"] == list(tree)
    assert ["k1"] == ids(keys.ring(NOW_S))
    assert "k1" == keys.ring(NOW_S).current
    assert [(False, True), (True, True)] == [(key.test, key.active) for key in keys.signing_keys(NOW_S)]


def test_only_its_owner_can_read_it(keys: KeyFile, path: Path) -> None:
    """Mode 0600 in a folder of mode 0700, whatever the umask; still 0600 after a rotation."""
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)

    keys.rotate(NOW_S)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_second_start_reads_the_same_secrets(keys: KeyFile, path: Path) -> None:
    """Nothing is made anew: names and codes stay."""
    before = path.read_bytes()
    again = KeyFile(path)
    again.load_or_create()

    assert before == path.read_bytes()
    assert keys.ring(NOW_S).names("p", "x") == again.ring(NOW_S).names("p", "x")
    assert keys.ring(NOW_S).shard("x") == again.ring(NOW_S).shard("x")


def test_two_files_share_no_secret(keys: KeyFile, tmp_path: Path) -> None:
    """Each store has its own secrets."""
    other = KeyFile(tmp_path / "other.json")

    assert keys.ring(NOW_S).names("p", "x") != other.ring(NOW_S).names("p", "x")
    assert kids(keys.signing_keys(NOW_S)) != kids(other.signing_keys(NOW_S))


def test_nothing_else_is_left_in_the_folder(keys: KeyFile, path: Path) -> None:
    """No temporary file with secrets stays behind."""
    keys.rotate(NOW_S)

    assert [path] == list(path.parent.iterdir())


def test_the_first_keys_hold_even_when_the_clock_stands_before_them(keys: KeyFile) -> None:
    """A host with a wrong clock has a current key all the same.  Invariant 4."""
    assert "k1" == keys.ring(0).current
    assert active(keys.signing_keys(0)) == active(keys.signing_keys(NOW_S))


def _create(path: Path, barrier: Barrier, results: Any) -> None:
    keys = KeyFile(path)
    barrier.wait()
    keys.load_or_create()
    results.put((keys.ring(NOW_S).names("p", "x"), kids(keys.signing_keys(NOW_S))))


def _rotate(path: Path, barrier: Barrier, results: Any) -> None:
    keys = KeyFile(path)
    keys.load_or_create()
    barrier.wait()
    results.put([keys.rotate(NOW_S) for _ in range(3)])


def race(path: Path, work: Callable[[Path, Barrier, Any], None], processes: int) -> list[Any]:
    """Run the same work in processes that start it at the same moment; return what each put out."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    running = [context.Process(target=work, args=(path, barrier, results)) for _ in range(processes)]
    for process in running:
        process.start()
    collected = [results.get(timeout=60) for _ in running]
    for process in running:
        process.join(60)
        assert 0 == process.exitcode
        process.close()
    results.close()
    results.join_thread()
    return collected


def test_processes_that_race_get_the_same_file(path: Path) -> None:
    """Of four processes that start together one makes the file and all hold its secrets."""
    first, *others = race(path, _create, 4)

    assert [first] * 3 == others
    assert [path] == list(path.parent.iterdir())


def test_rotations_that_race_lose_no_key(keys: KeyFile, path: Path) -> None:
    """Three processes that rotate three times each add nine keys, each id once."""
    given = sorted(name for names in race(path, _rotate, 3) for name in names)

    assert [f"k{i}" for i in range(2, 10)] + ["ka"] == given
    keys.load_or_create()
    assert {"k1", *given} == set(ids(keys.ring(NOW_S)))


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_a_new_ring_key_is_known_before_it_is_current(keys: KeyFile) -> None:
    """For the activation time the old key stays current and the new one is readable; then they change places."""
    assert "k2" == keys.rotate(NOW_S)

    assert ["k1", "k2"] == ids(keys.ring(NOW_S))
    assert ["k1", "k2"] == ids(keys.ring(NOW_S + ACTIVATE_IN_S - 1))
    assert ["k2", "k1"] == ids(keys.ring(NOW_S + ACTIVATE_IN_S))


def test_the_others_follow_newest_first(keys: KeyFile) -> None:
    """Index names are looked up in the order in which they are likely."""
    for day in range(1, 4):
        keys.rotate(NOW_S + day * DAY_S)

    assert ["k4", "k3", "k2", "k1"] == ids(keys.ring(NOW_S + 4 * DAY_S))
    assert ["k3", "k4", "k2", "k1"] == ids(keys.ring(NOW_S + 3 * DAY_S))


def test_what_an_older_key_made_stays_readable(keys: KeyFile) -> None:
    """An id, its code secret, its token and its sealed data survive a rotation."""
    before = keys.ring(NOW_S)
    verification = before.new_id(7)
    sealed = before.seal(verification, "phone", "+84900000001")
    token = before.client_token(verification, "portal")

    keys.rotate(NOW_S)
    after = keys.ring(NOW_S + ACTIVATE_IN_S)

    assert "k2" == after.current
    assert 7 == after.parse_id(verification)
    assert before.code_secret(verification) == after.code_secret(verification)
    assert "+84900000001" == after.unseal(verification, "phone", sealed)
    assert "portal" == after.client_of_token(verification, token)
    assert before.shard("+84900000001") == after.shard("+84900000001")
    assert before.names("p", "x")[0] in after.names("p", "x")


def test_a_process_that_has_not_switched_reads_what_a_switched_one_made(keys: KeyFile, path: Path) -> None:
    """During the change each reads the other's ids."""
    keys.rotate(NOW_S)
    late = KeyFile(path)
    early_ring, late_ring = keys.ring(NOW_S + ACTIVATE_IN_S), late.ring(NOW_S + ACTIVATE_IN_S - 5)

    assert (3, 3) == (late_ring.parse_id(early_ring.new_id(3)), early_ring.parse_id(late_ring.new_id(3)))


def test_a_ring_key_is_dropped_when_superseded_for_longer_than_it_is_kept(keys: KeyFile) -> None:
    """The time counts from when its successor became current, not from when it was made.  Invariant 2."""
    keys.rotate(NOW_S)
    superseded_at = NOW_S + ACTIVATE_IN_S

    keys.rotate(superseded_at + KEEP_S - 1)
    assert {"k1", "k2", "k3"} == set(ids(keys.ring(NOW_S)))

    keys.rotate(superseded_at + KEEP_S)
    assert {"k2", "k3", "k4"} == set(ids(keys.ring(NOW_S)))


def test_keeping_outlasts_the_longest_memory() -> None:
    """Failures are remembered for 30 days under a key's names.  Invariant 2."""
    assert KEEP_S > 30 * DAY_S


def test_a_current_key_is_never_dropped(keys: KeyFile) -> None:
    """After years without a rotation the key in use stays while the new one waits."""
    keys.rotate(NOW_S + 1000 * DAY_S)

    assert ["k1", "k2"] == ids(keys.ring(NOW_S + 1000 * DAY_S))


def test_times_are_the_caller_s(keys: KeyFile) -> None:
    """Activation and keeping can be set."""
    keys.rotate(NOW_S, activate_in_s=0)
    assert "k2" == keys.ring(NOW_S).current

    keys.rotate(NOW_S + 10, activate_in_s=5, keep_s=10)
    assert ["k2", "k3"] == ids(keys.ring(NOW_S + 14))


def test_ids_are_never_given_twice(keys: KeyFile, path: Path) -> None:
    """A dropped id does not come back, and ids grow in base 36."""
    given = [keys.rotate(NOW_S + i * DAY_S, keep_s=2 * DAY_S) for i in range(40)]

    assert 40 == len(set(given))
    assert ["k2", "k9", "ka", "kz", "k10", "k15"] == [given[i] for i in (0, 7, 8, 33, 34, 39)]
    assert 42 == content(path)["next_id"]


def test_the_last_id_is_the_last(keys: KeyFile, path: Path) -> None:
    """After kzzz no id is made that a verification id could not carry."""
    path.write_text(json.dumps(content(path) | {"next_id": 36**3 - 1}))
    assert "kzzz" == keys.rotate(NOW_S)

    with pytest.raises(ConfigurationError, match="used up every key id"):
        keys.rotate(NOW_S)


def test_the_ring_is_bounded(keys: KeyFile) -> None:
    """Rotating again and again is refused before it slows every call, and changes nothing.  Invariant 14."""
    for _ in range(MAX_RING_KEYS - 1):
        keys.rotate(NOW_S)

    with pytest.raises(ConfigurationError, match="16 ring keys already"):
        keys.rotate(NOW_S)
    assert MAX_RING_KEYS == len(ids(keys.ring(NOW_S)))
    assert "kh" == keys.rotate(NOW_S + 100 * DAY_S)


# -- signing keys -----------------------------------------------------------------------------------------------------


def test_a_signing_key_is_named_by_its_thumbprint_and_signs(keys: KeyFile) -> None:
    """``kid`` is the RFC 7638 thumbprint, and what the PEM signs its public half verifies."""
    for key in keys.signing_keys(NOW_S):
        private = ECKey.import_key(key.pem)
        public = ECKey.import_key(private.as_dict(private=False))
        token = jws.serialize_compact({"alg": key.alg, "kid": key.kid}, b"verdict", private)

        assert key.kid == public.thumbprint()
        assert "ES256" == key.alg
        assert b"verdict" == jws.deserialize_compact(token, public).payload


def test_live_and_test_keys_are_unlike(keys: KeyFile) -> None:
    """What a test key has signed no portal takes for real."""
    published = keys.signing_keys(NOW_S)

    assert not set(kids(published)) & set(kids(published, test=True))


@pytest.mark.parametrize("test", [False, True])
def test_a_new_signing_key_is_published_before_it_signs(keys: KeyFile, test: bool) -> None:
    """Verifiers see it for the activation time before the first token under it."""
    old = active(keys.signing_keys(NOW_S), test=test)
    keys.rotate(NOW_S)

    waiting = keys.signing_keys(NOW_S + ACTIVATE_IN_S - 1)
    assert 2 == len(kids(waiting, test=test))
    assert old == active(waiting, test=test)

    switched = keys.signing_keys(NOW_S + ACTIVATE_IN_S)
    assert kids(waiting, test=test) == kids(switched, test=test)
    assert kids(switched, test=test)[0] == active(switched, test=test) != old


def test_an_old_signing_key_stays_published_for_a_day_and_a_token_s_life(keys: KeyFile, path: Path) -> None:
    """It leaves the JWKS by time alone, and the file with the next rotation."""
    old = active(keys.signing_keys(NOW_S))
    keys.rotate(NOW_S)
    switched_at = NOW_S + ACTIVATE_IN_S

    assert old in kids(keys.signing_keys(switched_at + DAY_S + 599))
    assert old not in kids(keys.signing_keys(switched_at + PUBLISH_S))
    assert old in path.read_text()

    keys.rotate(switched_at + PUBLISH_S)
    assert old not in path.read_text()
    assert 4 == len(content(path)["signing"])


# -- other processes --------------------------------------------------------------------------------------------------


def test_another_process_notices_a_rotation(keys: KeyFile, path: Path) -> None:
    """``changed`` is false until the file is replaced, and false again once it was read."""
    other = KeyFile(path)
    other.load_or_create()
    assert (False, False) == (keys.changed(), other.changed())

    keys.rotate(NOW_S)

    assert (False, True) == (keys.changed(), other.changed())
    assert ["k1"] == ids(other.ring(NOW_S))
    other.load_or_create()
    assert ["k1", "k2"] == ids(other.ring(NOW_S))
    assert not other.changed()


def test_a_rotation_starts_from_what_is_on_disk(keys: KeyFile, path: Path) -> None:
    """A process that has not noticed an earlier rotation does not undo it."""
    other = KeyFile(path)
    other.load_or_create()
    keys.rotate(NOW_S)

    assert "k3" == other.rotate(NOW_S)
    assert ["k1", "k3", "k2"] == ids(other.ring(NOW_S))


def test_a_vanished_file_is_not_made_anew(keys: KeyFile, path: Path) -> None:
    """A running process goes on with what it has: a new anchor would lose every phone's history.  Invariant 2."""
    path.unlink()

    assert not keys.changed()
    with pytest.raises(ConfigurationError, match="has vanished"):
        keys.load_or_create()
    with pytest.raises(ConfigurationError, match="No such file"):
        keys.rotate(NOW_S)
    assert not path.exists()
    assert ["k1"] == ids(keys.ring(NOW_S))


def test_a_symbolic_link_is_followed_and_kept(keys: KeyFile, path: Path, tmp_path: Path) -> None:
    """A rotation replaces what the link points to, not the link."""
    del keys
    link = tmp_path / "link.json"
    link.symlink_to(path)

    linked = KeyFile(link)
    linked.rotate(NOW_S)

    assert link.is_symlink()
    assert 2 == len(content(path)["ring"])


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601, 0o666])
def test_a_file_that_others_may_use_is_refused(path: Path, keys: KeyFile, mode: int) -> None:
    """Any right of group or others refuses to start and says what to do.  Invariant 5."""
    del keys
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=rf"can be used by others \(mode {mode:04o}\): chmod 600"):
        KeyFile(path).load_or_create()


def test_a_file_that_its_owner_may_only_read_is_taken(path: Path, keys: KeyFile) -> None:
    """A mounted secret is often read-only."""
    del keys
    path.chmod(0o400)

    assert "k1" == KeyFile(path).ring(NOW_S).current


def damage(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a change of top-level members; None removes one."""
    def change(tree: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (tree | changes).items() if value is not None}
    return change


def damage_entry(table: str, **changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a change of the first entry of a list."""
    def change(tree: dict[str, Any]) -> dict[str, Any]:
        first, *others = tree[table]
        return tree | {table: [damage(**changes)(first), *others]}
    return change


def other_key(curve: str) -> str:
    """Return another private key."""
    return ECKey.generate_key(curve).as_pem(private=True).decode()


P384 = other_key("P-384")

DAMAGES = {
    "another version": damage(version=2),
    "no version": damage(version=None),
    "no anchor": damage(anchor=None),
    "short anchor": damage(anchor="c2hvcnQ="),
    "anchor not base64": damage(anchor="A" * 44 + "????"),
    "empty ring": damage(ring=[]),
    "no ring": damage(ring=None),
    "no signing keys": damage(signing=[]),
    "no next_id": damage(next_id=None),
    "next_id too low": damage(next_id=1),
    "unknown member": damage(note="x"),
    "id twice": lambda tree: tree | {"ring": tree["ring"] * 2},
    "no test signing key": lambda tree: tree | {"signing": tree["signing"][:1]},
    "short secret": damage_entry("ring", secret="c2hvcnQ="),
    "no secret": damage_entry("ring", secret=None),
    "id in capitals": damage_entry("ring", id="K1"),
    "id not yet given": damage_entry("ring", id="k2"),
    "id too long": damage_entry("ring", id="k0000"),
    "time as text": damage_entry("ring", active_from="soon"),
    "unknown member of a ring key": damage_entry("ring", note="x"),
    "another algorithm": damage_entry("signing", alg="none"),
    "another kid": damage_entry("signing", kid="other"),
    "neither live nor test": damage_entry("signing", test=None),
    "pem cut off": damage_entry("signing", pem="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    "another key": damage_entry("signing", pem=other_key("P-256")),
    "another curve": damage_entry("signing", pem=P384, kid=ECKey.import_key(P384).thumbprint()),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_and_left_alone(
    path: Path, keys: KeyFile, change: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """What does not fit is reported without any secret, and the file stays as it was for whoever mends it."""
    tree = content(path)
    path.write_text(json.dumps(change(tree)))
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match="is damaged and was left as it is") as refused:
        KeyFile(path).load_or_create()
    with pytest.raises(ConfigurationError, match="is damaged"):
        keys.rotate(NOW_S)

    assert before == path.read_bytes()
    assert refused.value.__context__ is None
    for secret in (tree["anchor"], tree["ring"][0]["secret"], "c2hvcnQ=", "BEGIN"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"\0" * 100])
def test_what_is_no_json_is_refused_and_left_alone(path: Path, raw: bytes) -> None:
    """An empty or cut-off file is not taken for a first use."""
    path.parent.mkdir()
    path.write_bytes(raw)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="is damaged and was left as it is"):
        KeyFile(path).load_or_create()
    assert raw == path.read_bytes()


def test_a_huge_file_is_refused(path: Path) -> None:
    """A wrong path does not fill the memory.  Invariant 14."""
    path.parent.mkdir()
    path.write_bytes(b" " * 1_100_000)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="larger than 1048576 bytes"):
        KeyFile(path).load_or_create()


def test_a_damaged_change_leaves_the_loaded_keys_in_use(path: Path, keys: KeyFile) -> None:
    """A process that meets a damaged file goes on with the keys it has."""
    path.write_text("{")

    assert keys.changed()
    with pytest.raises(ConfigurationError):
        keys.load_or_create()
    assert "k1" == keys.ring(NOW_S).current
    assert keys.changed()


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    """A path that names a folder is a mistake."""
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        KeyFile(tmp_path).load_or_create()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file where the data folder should be is told."""
    (tmp_path / "data").write_text("")

    with pytest.raises(ConfigurationError, match="cannot be made: "):
        KeyFile(tmp_path / "data" / "keys.json").load_or_create()


def test_a_failed_rotation_leaves_the_old_file(
    path: Path, keys: KeyFile, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk in the middle of writing keeps the old file whole and no half one beside it."""
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="cannot be replaced: No space left on device"):
        keys.rotate(NOW_S)

    assert before == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_secrets_are_not_shown(keys: KeyFile, path: Path) -> None:
    """No repr carries a secret.  Invariant 5."""
    tree = content(path)
    shown = repr(keys) + repr(keys._content) + repr(keys.signing_keys(NOW_S)) + repr(keys.ring(NOW_S))

    for secret in (tree["anchor"], tree["ring"][0]["secret"], "PRIVATE"):
        assert secret not in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_rotation_by_root_leaves_the_file_to_its_owner(keys: KeyFile, path: Path) -> None:
    """The service still reads its file after an administrator has rotated."""
    os.chown(path, 12345, 12346)

    keys.rotate(time.time())

    assert (12345, 12346) == (path.stat().st_uid, path.stat().st_gid)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
