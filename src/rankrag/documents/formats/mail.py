"""E-mails: who wrote to whom, when and about what, the text, and attachments of any readable format."""

from __future__ import annotations

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from pathlib import Path
from typing import cast

from rankrag.documents.decoding import decode
from rankrag.documents.document import Document, Writer, one_line
from rankrag.documents.files import READERS, ROWS, kind
from rankrag.errors import DataError

_NAMES = ("From", "To", "Cc", "Date", "Subject")
_DEEPEST = 5  # e-mails in e-mails


def read_mail(path: Path, data: bytes, where: str) -> Document:
    """Return an e-mail; its title is its subject, and each attachment begins below its own name."""
    message = BytesParser(policy=policy.default).parsebytes(data)
    if not any(message.get(name) for name in (*_NAMES, "Message-ID", "Received", "Content-Type")):
        raise DataError(f"{where}: a broken or foreign .eml file (it has no head); save it anew from its program")
    writer = Writer()
    subject = _header(message, "Subject")
    _write(writer, message, where, 0)
    return writer.document(path.as_posix(), subject or path.stem)


def _write(writer: Writer, message: EmailMessage, where: str, depth: int) -> None:
    head = [f"{name}: {text}" for name in _NAMES if (text := _header(message, name))]
    writer.block("\n".join(head))
    body = message.get_body(preferencelist=("plain", "html"))
    shown = message.get_body(preferencelist=("html", "plain"))
    if shown is not None and body is not None and len(_bytes(shown)) > 40 * max(1, len(_bytes(body))):
        body = shown  # a plain part that says only that there is another one
    if body is not None:
        _body(writer, body, where)
    for part in _parts(message):
        if part not in (body, shown) and (part.get_content_maintype() != "text" or _is_attached(part)):
            _attachment(writer, part, where, depth)


def _parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """Yield the parts that hold something; an e-mail in an e-mail is one part."""
    if message.get_content_maintype() != "multipart":
        yield message
        return
    for part in message.iter_parts():
        yield from _parts(cast(EmailMessage, part))


def _is_attached(part: EmailMessage) -> bool:
    return bool(part.get_filename()) or part.get_content_disposition() == "attachment"


def _body(writer: Writer, part: MIMEPart, where: str) -> None:
    from rankrag.documents.formats.html import write_html

    data = _bytes(part)
    is_page = part.get_content_type() == "text/html"
    read = decode(data, where, stated=part.get_content_charset(), page=is_page)
    if is_page:
        write_html(writer, read.text, whole=True)
        return
    for paragraph in read.text.replace("\r\n", "\n").split("\n\n"):
        writer.block(paragraph)


def _attachment(writer: Writer, part: EmailMessage, where: str, depth: int) -> None:
    from rankrag.documents.readers import read_bytes

    name = one_line(part.get_filename() or "") or part.get_content_type()
    if part.get_content_type() == "message/rfc822" and depth < _DEEPEST:
        inner = part.get_payload()
        for message in inner if isinstance(inner, list) else []:
            writer.heading(1, _header(cast(EmailMessage, message), "Subject") or "E-mail")
            _write(writer, cast(EmailMessage, message), where, depth + 1)
        return
    path = Path(name.replace("/", "_"))
    if part.get_content_maintype() == "image" and part.get("Content-ID"):
        return  # a picture of the text
    if kind(path) not in READERS or kind(path) in ROWS or depth >= _DEEPEST:
        writer.note(f"the attachment {name} is not read; save it as a file of its own")
        return
    try:
        document = read_bytes(path, _bytes(part), f"{where}: {name}")
    except DataError as error:
        writer.note(f"the attachment {name} is not read ({str(error).removeprefix(f'{where}: {name}: ')[:160]})")
        return
    writer.heading(1, name)
    for section in document.sections:
        for block in section.text.split("\n\n"):
            writer.block(block)
    for note in document.notes:
        writer.note(f"{name}: {note.text}", lost=note.lost)


def _bytes(part: MIMEPart) -> bytes:
    data: object = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _header(message: EmailMessage, name: str) -> str:
    try:
        return one_line(str(message.get(name, "")))
    except Exception:  # the standard library's parser fails on some broken heads
        return ""
