"""Currencies as people write them: signs, codes and words, and which of them are the same."""

import re
from collections.abc import Collection

CURRENCIES = {
    *("kr", "zł", "zl", "kč", "fr", "sfr", "rs", "lei", "leu", "ft", "din", "rm", "rp", "s/", "b/", "bs", "tl", "ksh"),
    *("руб", "р", "грн", "лв", "тг", "円", "元", "원", "dh", "dhs", "lek"),  # noqa: RUF001
    *("euro", "euros", "dollar", "dollars", "pound", "pounds"),
    *("b$", "t$"),  # of Brunei, of Tonga: no billions
}
CODES = {  # ISO 4217, of signs and words that mean one; a bare "$" is taken for the US dollar's, "¥" for the yen's
    **dict.fromkeys(("€", "euro", "euros"), "EUR"),
    **dict.fromkeys(("$", "us$", "dollar", "dollars"), "USD"),
    **dict.fromkeys(("£", "pound", "pounds"), "GBP"),
    **dict.fromkeys(("¥", "円"), "JPY"),
    **dict.fromkeys(("元", "cn¥"), "CNY"),
    **dict.fromkeys(("fr", "sfr"), "CHF"),
    **dict.fromkeys(("zł", "zl"), "PLN"),
    **dict.fromkeys(("₹", "rs"), "INR"),
    **dict.fromkeys(("₽", "руб", "р"), "RUB"),  # noqa: RUF001
    **dict.fromkeys(("₩", "원"), "KRW"),
    **dict.fromkeys(("₴", "грн"), "UAH"),
    **dict.fromkeys(("₺", "tl"), "TRY"),
    **dict.fromkeys(("us dollar", "us-dollar", "u.s. dollar", "american dollar", "840"), "USD"),
    **dict.fromkeys(("pound sterling", "british pound", "sterling", "826"), "GBP"),
    **dict.fromkeys(("swiss franc", "franken", "schweizer franken", "756"), "CHF"),
    **dict.fromkeys(("yen", "japanese yen", "392"), "JPY"),
    **dict.fromkeys(("yuan", "renminbi", "rmb", "156"), "CNY"),
    **dict.fromkeys(("canadian dollar", "124"), "CAD"),
    **dict.fromkeys(("australian dollar", "036"), "AUD"),
    **dict.fromkeys(("swedish krona", "752"), "SEK"),
    **dict.fromkeys(("norwegian krone", "578"), "NOK"),
    **dict.fromkeys(("danish krone", "208"), "DKK"),
    **dict.fromkeys(("zloty", "złoty", "polish zloty", "985"), "PLN"),
    **dict.fromkeys(("czech koruna", "koruna", "203"), "CZK"),
    **dict.fromkeys(("forint", "hungarian forint", "348"), "HUF"),
    **dict.fromkeys(("indian rupee", "356"), "INR"),
    **dict.fromkeys(("brazilian real", "986"), "BRL"),
    **dict.fromkeys(("turkish lira", "949"), "TRY"),
    **dict.fromkeys(("russian ruble", "ruble", "643"), "RUB"),
    **dict.fromkeys(("mexican peso", "484"), "MXN"),
    "978": "EUR", "554": "NZD", "702": "SGD", "344": "HKD", "710": "ZAR", "410": "KRW", "946": "RON", "376": "ILS",
    "784": "AED", "682": "SAR", "980": "UAH", "764": "THB",
    "kč": "CZK", "ft": "HUF", "r$": "BRL", "a$": "AUD", "c$": "CAD", "₪": "ILS", "лв": "BGN", "₫": "VND", "฿": "THB",
}  # fmt: skip

_CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD"
    " CDF CHF CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD"
    " GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK"
    " LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB"
    " PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL"
    " THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW"
    " ZWG ZWL"
)
_WORDS = "ALL AMD COP CUP MAD MOP PEN SOS TOP"
ISO_4217 = frozenset(_CODES.split())  # of money that is in use, or was lately
WORDS = frozenset(_WORDS.split())  # codes that are words, too
ISO = {name.lower() for name in CODES.values()}
SEVERAL = {"$", "dollar", "dollars", "kr", "rs", "¥", "fr", "£", "pound", "pounds", "元"}  # countries' of one name
# 2.5k and 3 Mio. are other numbers than 2.5 and 3, and 5 CR is one of which the sign is not known.
MULTIPLIERS = {
    *("k", "m", "b", "t", "mio", "mln", "mrd", "mn", "bn", "tsd", "tys", "lakh", "cr", "dr"),
    *("тыс", "млн", "млрд", "万", "萬", "亿", "億"),
}

PIECES = {*("x", "pc", "pcs", "piece", "pieces", "ea", "each", "unit", "units"), *("st", "stk", "stck", "stück", "szt")}


def bare(unit: str) -> str:
    """A unit without its point, in small letters."""
    return unit.rstrip(".").lower()


def code(unit: str) -> str:
    """The currency that is meant by a sign, code or word; one that may be several is its own.

    >>> code("€"), code("US$"), code("eur"), code("kr.")
    ('EUR', 'USD', 'EUR', 'KR')
    """
    return CODES.get(bare(unit), bare(unit).upper())


def named(word: str) -> str:
    """The currency that a word of a currency column means; one that is not known is its own.

    >>> named("Pound Sterling"), named("36"), named("EUR - Euro"), named("US Dollar (USD)"), named("USDT")
    ('GBP', 'AUD', 'EUR', 'USD', 'USDT')
    """
    if (whole := code(word.zfill(3) if word.isdigit() else word)) != bare(word).upper():
        return whole
    among = ISO & {*re.findall(r"\w+", word.lower())}
    return among.pop().upper() if len(among) == 1 else whole


def is_currency(word: str) -> bool:
    """Does it look like one of a currency column?

    >>> is_currency("Euro"), is_currency("eur"), is_currency("USDT"), is_currency("840"), is_currency("$")
    (True, True, True, True, True)
    >>> is_currency("paid"), is_currency("1.08"), is_currency("5"), is_currency("hello there")
    (False, False, False, False)
    """
    known = named(word).lower() in ISO or bare(word) in CURRENCIES
    return known or re.fullmatch(r"[A-Z]{3,5}", word) is not None


def are_codes(words: Collection[str]) -> bool:
    """Are they ISO 4217 codes, and hardly anything else? One alone is one that is frequent.

    >>> are_codes({"EUR", "USD"}), are_codes({"EUR"}), are_codes({"CLP", "TRY"})
    (True, True, True)
    >>> are_codes({"CUP", "PEN"}), are_codes({"CLP"}), are_codes({"EUR", "DEU"}), are_codes({"usd", "cup"})
    (False, False, False, False)
    """
    sure = [word for word in words if word not in WORDS and (len(words) > 1 or word.lower() in ISO)]
    return bool(sure) and ISO_4217.issuperset(words)


def one_currency(one: str, other: str) -> str | None:
    """The currency that both mean; None where they mean two, or none.

    >>> one_currency("$", "CAD"), one_currency("EUR", "€"), one_currency("€", "USD"), one_currency("$", "M")
    ('CAD', 'EUR', None, None)
    """
    codes = {unit: code(unit) for unit in (one, other) if bare(unit) in CURRENCIES | CODES.keys() | ISO}
    if len(codes) < len({one, other}):
        return None
    sure = {name for unit, name in codes.items() if bare(unit) not in SEVERAL}
    found = sure or {*codes.values()}
    return found.pop() if len(found) == 1 else None


def same(unit: str) -> set[str]:
    """What means the same as a unit, in small letters without a point.

    >>> {"$", "us$", "usd", "dollar"} <= same("USD"), same("kg")
    (True, {'kg'})
    """
    return {bare(unit), code(unit).lower(), *(other for other, name in CODES.items() if name == code(unit))}


def scaled(unit: str) -> bool:
    """Does a unit say that the number beside it is another one, alone or with a currency?

    >>> scaled("k"), scaled("$M"), scaled("T€"), scaled("kEUR"), scaled("Mkr"), scaled("USDbn")
    (True, True, True, True, True, True)
    >>> scaled("kr"), scaled("TRY"), scaled("R$"), scaled("kg"), scaled("BAGS")
    (False, False, False, False, False)
    """
    word = bare(unit)
    if word in MULTIPLIERS:
        return True
    if word in CURRENCIES or word in CODES or word in ISO:
        return False
    names = [name for name in {*CURRENCIES, *CODES, *ISO} if name in word]
    rests = [word.removeprefix(name) for name in names] + [word.removesuffix(name) for name in names]
    return any(rest.strip(". ") in MULTIPLIERS for rest in rests if rest != word)
