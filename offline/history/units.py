"""Currencies as people write them: signs, codes and words, and which of them are the same."""

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
    **dict.fromkeys(("us dollar", "us-dollar", "u.s. dollar", "840"), "USD"),
    **dict.fromkeys(("pound sterling", "british pound", "826"), "GBP"),
    **dict.fromkeys(("swiss franc", "756"), "CHF"),
    **dict.fromkeys(("yen", "japanese yen", "392"), "JPY"),
    **dict.fromkeys(("canadian dollar", "124"), "CAD"),
    **dict.fromkeys(("australian dollar", "036"), "AUD"),
    "978": "EUR", "752": "SEK", "578": "NOK", "208": "DKK", "985": "PLN", "203": "CZK", "348": "HUF",
    "kč": "CZK", "ft": "HUF", "r$": "BRL", "a$": "AUD", "c$": "CAD", "₪": "ILS", "лв": "BGN", "₫": "VND", "฿": "THB",
}  # fmt: skip

ISO = {*(name.lower() for name in CODES.values()), *("sek", "nok", "dkk", "mxn", "sgd", "hkd", "nzd", "zar")}
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
