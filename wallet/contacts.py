"""The address book: names for other people's addresses, and files of them.

A name stands for money, so two names must not look the same, and none may look like an address or an
amount. What is typed later has to be the name to the letter; nothing is guessed.

Source: docs/wallet.md, "Contacts".
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from consensus.hashes import LockHash
from wallet.book import NAME_MAX, Book, Contact
from wallet.errors import WalletError

CONTACTS_MAX = 10_000
FILE_BYTES_MAX = 4 * 1024 * 1024
COLUMNS = ("name", "address")
_ADDRESS = re.compile(r"[a-z]{1,20}1[a-z0-9]{20,}|[A-Z]{1,20}1[A-Z0-9]{20,}|[a-z]+:.*")
"""Bech32 of any network, and URIs."""
_NUMBER = re.compile(r"[0-9][0-9., _]*")
_UNSEEN = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0100-\U000e01ef]"
)
"""Printable by the letter of Unicode, but nothing is seen of them: a name with one would be another's."""
_FIRST_SIGNS = "=+-@'\"#"
"""With these an option, a formula or a comment would begin."""
_SIGNS = "=()"
"""`--to NAME=AMOUNT`; and what stands in brackets beside an address is what the wallet says of it."""
_ALPHABETS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
"""Letters of these look like one another's: a name has those of one."""
# By the capitals first, as Η is no H when it is small.
_CAPITALS = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВЕЅІЈКМНОРСТУХ", "ABEZHIKMNOPTYXABESIJKMHOPCTYX")
_SMALL = str.maketrans(
    "αβεικνορτυχωаеѕіјкморсухһԁԛԝɑɡıⅼ01|i‐‑‒–—−’",
    "abeiknoptuxwaesijkmopcyxhdqwagllolll------'",
)
_PAIRS = (("rn", "m"), ("vv", "w"))


def looks_like_address(text: str) -> bool:
    """Whether nobody should be called that, since it could be taken for where money goes."""
    return _ADDRESS.fullmatch(text) is not None


def normal_name(text: str) -> str:
    """The one form of a name, however it was typed (NFC)."""
    return unicodedata.normalize("NFC", text)


def check_contact_name(text: str) -> str:
    """The name in its one form. Raises: WalletError."""
    name = normal_name(text)
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable() or _UNSEEN.search(name):
        raise WalletError(f"a name has 1 to {NAME_MAX} printable characters")
    if name != " ".join(name.split()):
        raise WalletError("a name has no blanks at its ends, and never two in a row")
    if looks_like_address(name):
        raise WalletError(f"the name {name!r} looks like an address")
    if _NUMBER.fullmatch(name) or name == "all":
        raise WalletError(f"the name {name!r} looks like an amount")
    if name[0] in _FIRST_SIGNS or any(sign in name for sign in _SIGNS):
        raise WalletError(
            f"a name has none of {_SIGNS} in it, and begins with none of {_FIRST_SIGNS}"
        )
    if unicodedata.normalize("NFKC", name) != name:
        raise WalletError(f"the name {name!r} has characters that are only another form of others")
    alphabets = {
        word for c in name if (word := unicodedata.name(c, "").split(" ")[0]) in _ALPHABETS
    }
    if len(alphabets) > 1:
        mixed = " and ".join(sorted(word.capitalize() for word in alphabets))
        raise WalletError(f"the name {name!r} mixes letters that look the same: {mixed}")
    return name


def look_of(name: str) -> str:
    """Equal for names that many would read as one."""
    bare = unicodedata.normalize("NFD", name).translate(_CAPITALS).casefold().translate(_SMALL)
    for pair, single in _PAIRS:
        bare = bare.replace(pair, single)
    return bare


def add_contact(book: Book, contact: Contact) -> None:
    """Raises: WalletError if the name, one that looks like it, or the address is there already."""
    name = check_contact_name(contact.name)
    look = look_of(name)
    for entry in book.contacts:
        if entry.name == name:
            raise WalletError(f"there is a contact {name!r} already")
        if look_of(entry.name) == look:
            raise WalletError(f"the name {name!r} looks like that of the contact {entry.name!r}")
        if entry.lock == contact.lock:
            raise WalletError(f"that address is the contact {entry.name!r} already")
    if len(book.contacts) >= CONTACTS_MAX:
        raise WalletError(f"there are {CONTACTS_MAX:,} contacts, the most there can be")
    book.contacts.append(Contact(name, contact.lock))


def find_contact(book: Book, text: str) -> Contact:
    """The contact of exactly that name. Raises: WalletError."""
    name = normal_name(text)
    for entry in book.contacts:
        if entry.name == name:
            return entry
    raise WalletError(f"{text[:100]!r} is neither an address nor a contact; see `tael contacts`")


def remove_contact(book: Book, text: str) -> Contact:
    """Raises: WalletError."""
    found = find_contact(book, text)
    book.contacts.remove(found)
    return found


def rename_contact(book: Book, old: str, new: str) -> Contact:
    """Raises: WalletError; then nothing is changed."""
    found = find_contact(book, old)
    before = list(book.contacts)
    book.contacts.remove(found)
    try:
        add_contact(book, Contact(new, found.lock))
    except WalletError:
        book.contacts = before
        raise
    return book.contacts[-1]


def names_by_lock(book: Book) -> Mapping[LockHash, str]:
    """Who is paid at a lock."""
    return {entry.lock: entry.name for entry in book.contacts}


def parse_contacts(data: bytes) -> list[tuple[int, str, str]]:
    """Line, name and address of each contact in a file. Raises: WalletError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WalletError(f"line {line}: not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[int, str, str]] = []
    try:
        if next(reader, None) != list(COLUMNS):
            raise WalletError(f"line 1: it must be {','.join(COLUMNS)}")
        for fields in reader:
            if len(fields) != len(COLUMNS):
                raise WalletError(f"line {reader.line_num}: {len(fields)} fields instead of 2")
            found.append((reader.line_num, fields[0], fields[1]))
            if len(found) > CONTACTS_MAX:
                raise WalletError(f"line {reader.line_num}: more than {CONTACTS_MAX:,} contacts")
    except csv.Error as error:
        raise WalletError(f"line {reader.line_num}: {error}") from None
    return found


def write_contacts(rows: Iterable[Sequence[str]]) -> bytes:
    """A file of contacts. No name begins like a formula, so that none needs an apostrophe."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8")
