"""Dates and times as people and programs spell them, one at a time, as ISO 8601.

Rule: a word that is not read whole stays as it is, for another to judge. Names of zones are read where they mean one
offset alone; a name that means several is asked about, never guessed.
"""

import re
import unicodedata
import zoneinfo
from collections.abc import Iterable
from functools import lru_cache

import pandas as pd

MONTHS = {
    # English, German, French, Spanish, Italian, Dutch, Portuguese, Swedish, Danish, Norwegian, Finnish, Polish, Czech,
    # Hungarian, Romanian and Turkish, without accents, as they stand beside a day; short forms as they are used. Not
    # Croatian, whose LISTOPAD is not the Poles': of its other months most are not read, so that such a file is refused.
    1: "JAN JANUARY JANUAR JANNER JANVIER JANV ENERO ENE GENNAIO GEN JANUARI JANEIRO TAMMIKUUTA STYCZNIA STYCZEN"
    " STY LEDNA LEDEN LED IANUARIE IAN OCAK OCA",
    2: "FEB FEBRUARY FEBRUAR FEVRIER FEVR FEV FEBRERO FEBBRAIO FEBRUARI FEVEREIRO HELMIKUUTA LUTEGO LUTY LUT"
    " UNORA UNOR UNO FEBRUARIE SUBAT SUB",
    3: "MAR MARCH MARZ MRZ MAERZ MARS MARZO MAART MRT MARCO MARTS MAALISKUUTA MARCA MARZEC BREZNA BREZEN BRE"
    " MARCIUS MARC MARTIE MART",
    4: "APR APRIL AVRIL AVR ABRIL ABR APRILE HUHTIKUUTA KWIETNIA KWIECIEN KWI DUBNA DUBEN DUB APRILIS APRILIE"
    " NISAN NIS",
    5: "MAY MAI MAYO MAGGIO MAG MEI MAIO MAJ TOUKOKUUTA MAJA KVETNA KVETEN KVE MAJUS MAYIS",
    6: "JUN JUNE JUNI JUIN JUNIO GIUGNO GIU JUNHO KESAKUUTA CZERWCA CZERWIEC CZE CERVNA CERVEN CVN JUNIUS IUNIE"
    " IUN HAZIRAN HAZ",
    7: "JUL JULY JULI JUILLET JUIL JULIO LUGLIO LUG JULHO HEINAKUUTA LIPCA LIPIEC LIP CERVENCE CERVENEC CVC"
    " JULIUS IULIE IUL TEMMUZ TEM",
    8: "AUG AUGUST AOUT AGOSTO AGO AUGUSTUS AUGUSTI ELOKUUTA SIERPNIA SIERPIEN SIE SRPNA SRPEN SRP AUGUSZTUS"
    " AGUSTOS AGU",
    9: "SEP SEPT SEPTEMBER SEPTEMBRE SEPTIEMBRE SETTEMBRE SET SETEMBRO SYYSKUUTA WRZESNIA WRZESIEN WRZ ZARI ZAR"
    " SZEPTEMBER SZEPT SEPTEMBRIE EYLUL EYL",
    10: "OCT OCTOBER OKTOBER OKT OCTOBRE OCTUBRE OTTOBRE OTT OUTUBRO OUT LOKAKUUTA PAZDZIERNIKA PAZDZIERNIK PAZ"
    " RIJNA RIJEN RIJ OCTOMBRIE EKIM EKI",
    11: "NOV NOVEMBER NOVEMBRE NOVIEMBRE NOVEMBRO MARRASKUUTA LISTOPADA LISTOPAD LIS LISTOPADU NOIEMBRIE NOI KASIM KAS",
    12: "DEC DECEMBER DEZEMBER DEZ DECEMBRE DICIEMBRE DIC DICEMBRE DEZEMBRO DESEMBER DES JOULUKUUTA GRUDNIA"
    " GRUDZIEN GRU PROSINCE PROSINEC PRO DECEMBRIE ARALIK ARA",
}
MONTH = {name: f"{number:02}" for number, names in MONTHS.items() for name in names.split()}

ZONES = {
    **dict.fromkeys(("Z", "UTC", "GMT", "UT", "WET"), "Z"),
    **dict.fromkeys(("CET", "MEZ", "WEST"), "+01:00"),
    **dict.fromkeys(("CEST", "MESZ", "EET", "SAST"), "+02:00"),
    **dict.fromkeys(("EEST", "MSK"), "+03:00"),
    "EST": "-05:00",
    "EDT": "-04:00",
    "CDT": "-05:00",
    "MDT": "-06:00",
    "PST": "-08:00",
    "PDT": "-07:00",
    "AKST": "-09:00",
    "AKDT": "-08:00",
    "HST": "-10:00",
    "JST": "+09:00",
    "KST": "+09:00",
    "HKT": "+08:00",
    "AWST": "+08:00",
    "AEST": "+10:00",
    "AEDT": "+11:00",
    "NZST": "+12:00",
    "NZDT": "+13:00",
    "MST": "-07:00",
}
AMBIGUOUS = frozenset({"CST", "IST", "BST", "AST", "ADT", "SST", "GST", "ECT", "ACT", "PKT", "WAST", "LT"})

_DAY, _YEAR = r"(?P<day>\d{1,2})(?:ST|ND|RD|TH|\.|º|ER)?", r"(?P<year>\d{4}|\d\d(?!\d))"
_NAME = r"(?P<name>[^\W\d_]{3,12})\.?"
_SEP = r"[ ./,-]{0,2}"
_DATES = [
    re.compile(form)
    for form in (
        r"(?P<first>\d{1,2})(?P<mark>[/.-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|(?<!-)\d\d(?!\d))\.?",
        r"(?P<year>\d{4})(?P<mark>[/.-]) ?(?P<month>\d{1,2})(?P=mark) ?(?P<day>\d{1,2})\.?",
        rf"{_DAY}{_SEP}(?:DE )?{_NAME}{_SEP}(?:DE )?{_YEAR}",
        rf"{_NAME}{_SEP}{_DAY}[ ,./-]{{1,2}}(?P<year>\d{{4}})",
        rf"{_NAME}(?P<mark>[/-]){_DAY}(?P=mark)(?P<year>\d\d)(?![\d:])",  # Jan-05-24; between blanks it may be an hour
        rf"(?P<year>\d{{4}}){_SEP}{_NAME}{_SEP}{_DAY}",
        r"(?P<year>\d{4})年(?P<month>\d{1,2})月(?P<day>\d{1,2})日",
    )
]
_CTIME = re.compile(r"([^\W\d_]{3}) +(\d{1,2}) (\d\d:\d\d:\d\d)( [A-Z]{3,4})? (\d{4})")  # Jan 12 15:05:00 CET 2024
_WEEKDAY = re.compile(r"([^\W\d_]{2,10})(?:\.,|[.,])? +")
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:[:.H](?P<minute>\d\d)(?:[:.](?P<second>\d\d(?:[.,]\d+)?))?)?"
    r"(?: ?(?P<half>[AP])\.? ?M(?![A-Z])\.?)?"
    r"(?: ?(?:UHR|HS?\.?))?"
)
_BETWEEN = re.compile(r"(?:,? ?(?:AT|A|UM|A LAS|KLO|KL\.?)? ?|T|:)(?=\d)")
_OFFSET = re.compile(r"([+-])(\d\d?)(?::?(\d\d))?")


def iso(word: str | None, dayfirst: bool | None = None) -> str | None:
    """An upper-case word as ISO 8601 if it spells a time, else as it is. dayfirst: of 01/02/2020; None: not told.

    >>> iso("MON, 12 JAN 2024 10:05:00 +0100"), iso("JAN 12, 2024 3:05 PM"), iso("1/2/2024"), iso("SOON")
    ('2024-01-12T10:05:00+01:00', '2024-01-12T15:05', '1/2/2024', 'SOON')
    """
    if word is None:
        return None
    text = _CTIME.sub(r"\1 \2 \5 \3\4", _bare(word))
    weekday = _WEEKDAY.match(text)
    if weekday and weekday[1].rstrip(".") not in MONTH:
        text = text[weekday.end() :]
    for form in _DATES:
        if (found := form.match(text)) and (date := _date(found.groupdict(), dayfirst)):
            clock = _time(text[found.end() :], date)
            return word if clock is None else date + clock
    return word


def _bare(word: str) -> str:
    """Without accents, and with one blank where there are several; blanks of other kinds are blanks."""
    letters = unicodedata.normalize("NFD", word)
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())


def _date(found: dict[str, str | None], dayfirst: bool | None) -> str | None:
    year, month, day = found["year"] or "", found.get("month"), found.get("day")
    if "name" in found:
        month = MONTH.get(found["name"] or "")
    if "first" in found:
        if dayfirst is None and int(found["first"] or 0) != int(found["second"] or 0):
            return None
        day, month = (found["first"], found["second"]) if dayfirst else (found["second"], found["first"])
    if month is None or day is None:
        return None
    if len(year) == 2:
        year = ("19" if year >= "69" else "20") + year  # POSIX strptime's %y
    return f"{year}-{month:0>2}-{day:0>2}"


def _time(rest: str, date: str) -> str | None:
    """What follows a date as ISO 8601's time and offset; None where it cannot be read whole."""
    if not (rest := rest.strip()) or rest == "Z":
        return ""
    body = rest[lead.end() :] if (lead := _BETWEEN.match(rest)) else ""
    if not (found := _CLOCK.match(body)):
        return None
    hour, minute, second, half = (found[name] for name in ("hour", "minute", "second", "half"))
    if (minute is None and half is None) or (half and not 1 <= int(hour) <= 12):
        return None
    if half:
        hour = str(int(hour) % 12 + 12 * (half == "P"))
    clock = f"T{hour:0>2}:{minute or '00'}" + (f":{second}".replace(",", ".") if second else "")
    zone = _zone(body[found.end() :].strip(), date + clock)
    return None if zone is None else clock + zone


def _zone(text: str, wall: str) -> str | None:
    """The offset that is meant: +0100, CET, GMT+1, Europe/Berlin, any of them named again in brackets."""
    if bracket := re.fullmatch(r"(.*?) ?[\[(]([^\])]*)[\])]", text):
        text = bracket[1] or bracket[2]
    if not text:
        return ""
    if text in ZONES:
        return ZONES[text]
    if found := _OFFSET.fullmatch(re.sub(r"^(?:UTC|GMT)(?=[+-])|(?<=\d) [A-Z]{1,5}$", "", text)):
        return f"{found[1]}{found[2]:0>2}:{found[3] or '00'}"
    return _of_place(wall, _place(text))


def _of_place(wall: str, place: str | None) -> str | None:
    """The offset of a place at a time of its own clock: of two the first, of none the one after the gap."""
    if place is None:
        return None
    try:
        moment = pd.Timestamp(wall).tz_localize(place, ambiguous=True, nonexistent="shift_forward")
    except ValueError:
        return None
    offset = pd.Timestamp(wall) - moment.tz_convert("UTC").tz_localize(None)
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@lru_cache
def _places() -> dict[str, str]:
    return {name.upper(): name for name in zoneinfo.available_timezones() if "/" in name}


def _place(text: str) -> str | None:
    return _places().get(text)


def ambiguous(words: Iterable[str | None]) -> str | None:
    """The first word that ends in the name of a zone that means several.

    >>> ambiguous(["2024-01-12 10:00 CET", "2024-01-12 10:00 IST"])
    '2024-01-12 10:00 IST'
    """
    return next((word for word in words if word and (end := word.upper().split()[-1:]) and end[0] in AMBIGUOUS), None)
