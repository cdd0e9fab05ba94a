"""Which column of an unknown file may be which of ours: by the words in its name, then by what stands in it.

Rule: a guess is written down to be read by its owner, never followed by itself; each column is guessed once at most.
Names are looked at before any file is read: what reads values is imported where they are.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from offline.history import joined
from offline.history.units import are_codes, is_currency
from offline.history.values import Bools

# Whole names that exports have, without case, accents and what stands between the words; the likeliest first.
NAMES = {
    "customer_id": "customerid customer customerno customernumber customercode custid clientid client clientnum userid"
    " buyerid buyer memberid shopperid accountid email customeremail buyeremail billingemail kundennr kundennummer"
    " kundenid kunde konto debitor debitorennummer clienteid cliente idclient klantnummer klant comprador acheteur"
    " householdkey customername user",
    "occurred_at": "occurredat orderdate invoicedate createdat purchasedate transactiondate saledate paidat date"
    " datetime timestamp ordertimestamp orderpurchasetimestamp day datum buchungsdatum belegdatum"
    " rechnungsdatum bestelldatum fecha fechapedido datecommande data time transactiontime created",
    "time_of_day": "timeofday time ordertime saletime transactiontime transtime uhrzeit zeit bestellzeit heure hora"
    " ora tijd godzina",
    "order_id": "orderid incrementid order orderno ordernumber invoiceno invoiceid invoice invoicenumber transactionid"
    " basketid receiptid receiptno receipt ticket name belegnr belegnummer beleg rechnungsnr rechnungsnummer"
    " bestellnummer bestellnr bonnr bon numerodecommande referencecommande pedido factura",
    "product_id": "productid product productcode stockcode sku lineitemsku itemid itemno itemnumber item articleid"
    " article artikel artikelnr artikelnummer ean upc asin lineitemname producto produit referenceproduit",
    "quantity": "quantity qty qtyordered lineitemquantity units unitssold menge anzahl stueck stuck pieces count"
    " cantidad quantite",
    "unit_price": "unitprice itemprice lineitemprice price einzelpreis stueckpreis preis precio prixunitaire prix",
    "amount": "amount total totalprice linetotal lineamount salesvalue grandtotal sales revenue value turnover betrag"
    " umsatz summe gesamtbetrag gesamt brutto bruttobetrag importe montant paid spend price",
    "event_type": "eventtype event type transactiontype action belegart vorgang buchungsart art kind doctype typ tipo"
    " tipomovimiento tipodocumento typedocument debitcredit creditdebit drcr crdr sollhaben sollhabenkennzeichen sh",
    "currency": "currency currencycode waehrung wahrung devise moneda valuta valuuta waluta moeda wkz ccy cur"
    " curr wahr divisa monnaie",
    "event_id": "eventid lineid rowid lineitemid transactionlineid",
}
ORDER = (  # in which they are guessed
    *("occurred_at", "time_of_day", "customer_id", "order_id", "product_id"),
    *("quantity", "unit_price", "amount", "currency", "event_type", "event_id"),
)
STATUS = ("status", "state", "stage", "stato", "estado", "statut", "etat")  # ends of names of what may leave rows out
# Parts of names and of words that say that a sale was none or did not stay one, and what stands below such a name where
# it is one.
UNDONE = re.compile(
    r"(?i)cancel|annul|storn|void|delet|gelösch|refund|rembours|reembols|erstatt|chargeback|disput|return|retour"
    r"|gutschrift|credit.?(?:note|memo)|avoir|devol|(?:\b|_|is)test(?:\b|_)"
)
NOT_SO = r"(?i)^(?:\W{0,2}0+(?:[.,]0+)?\W{0,2}|false|no|n|f|nein|nee|non|faux|falso)?$"
DISCOUNT = re.compile(r"(?i)discount|rabatt|nachlass|remise|réduction|descuento|desconto|sconto|korting|markdown")
PART = re.compile("tax|discount|shipping|freight|cost|refund|rabatt|steuer|mwst|versand")  # of an amount
# Of what stands beside an order, a customer or a product and tells none from another.
NO_ID = re.compile(
    PART.pattern + "|qty|quantit|menge|anzahl|units|(?<!ac)count|weight|gewicht|margin|points|since"
    "|country|land$|city|type|group|segment|gender|status|(?:age|date|datum)$"
)
# Ends of what begins with a word for an amount, or for a type, and numbers or dates something: Sales Rep ID, Total Due.
NUMBERED = "(?<!pa)id$|key$|code$|no$|nr$|num(?:ber|mer)?$"
NO_SUM = re.compile(f"{NO_ID.pattern}|{NUMBERED}|items?$|lines?$|due$|balance$")
NO_WORD = re.compile(f"{NUMBERED}|date|datum|time|value|version")
ALL = 20  # rows in which one id is nobody's
LONG = 5  # letters of a word with which a longer name may begin
MOSTLY = 0.8
FEW, CODE = 100, 8  # values that are looked at first, and characters that a code with blanks around it is shorter than


def bare(name: str) -> str:
    """A name as NAMES has it.

    >>> bare("Lineitem quantity"), bare("Stück"), bare("Kunden-Nr.")
    ('lineitemquantity', 'stuck', 'kundennr')
    """
    plain = unicodedata.normalize("NFKD", name)
    return re.sub(r"[^a-z0-9]", "", plain.encode("ascii", "ignore").decode().lower())


def is_one(name: str) -> bool:
    """Is it a name that columns have?"""
    return any(bare(name) in words.split() for words in NAMES.values())


def currency(header: Sequence[str], taken: Collection[int], first: Callable[[], Sequence[pa.Array]]) -> int | None:
    """The place of the column that names currencies: two of them must not be added up, whether mapped or not.

    taken: columns that mean something else. first: the first block; it is asked for where a name alone does not tell
    (Price Currency, Currency Rate).
    """
    words = NAMES["currency"].split()
    same = [place for place, name in enumerate(header) if bare(name) in words]
    longer = [place for place, name in enumerate(header) if place not in same and _of_currency(name, words)]
    if same and not longer:
        return same[0]
    block = first()
    found = [place for place in (*same, *longer) if not block or _currencies(block[place])]
    others = (place for place, column in enumerate(block) if place not in taken and holds_codes(column))
    return next(iter((*found, *same, *others)), None)


def holds_codes(column: pa.Array) -> bool:
    """Are its values codes of currencies, whatever its name?"""
    if any(len(text) >= CODE for text in column.slice(0, FEW).to_pylist() if text):
        return False  # at once, for most columns are none
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()).drop_null()).unique()
    return are_codes([*filter(None, texts.to_pylist())])


def _of_currency(name: str, words: Sequence[str]) -> bool:
    """Does a name hold a long word for it, or begin or end with a short one?"""
    ends = [bare(word) for word in re.findall(r"[^\W_]+", name)]
    return any(word in bare(name) if len(word) >= LONG else word in (ends[:1] + ends[-1:]) for word in words)


def _currencies(column: pa.Array) -> bool:
    """Are the values of a column currencies? One without values may be one of them."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()).drop_null()).unique().to_pylist()
    return sum(map(is_currency, texts)) >= MOSTLY * len(texts)


def columns(header: Sequence[str], block: Sequence[pa.Array]) -> dict[str, str]:
    """Ours -> theirs, of those that can be guessed; block: a column of text each."""
    said = {name: _said(column) for name, column in zip(header, block, strict=True) if name}
    left, found = dict(said), dict[str, str]()
    for ours in ORDER:
        if ours == "amount" and {"quantity", "unit_price"} <= found.keys():
            continue
        if ours == "time_of_day" and not ("occurred_at" in found and _dates_alone(said[found["occurred_at"]])):
            continue
        if (theirs := next((name for name in _alike(ours, left) if _may(ours, left[name])), None)) is not None:
            found[ours] = theirs
            del left[theirs]
    if "occurred_at" not in found and (dated := [name for name in left if written(left[name])]):
        found["occurred_at"] = min(dated, key=lambda name: left[name].null_count)
    if "currency" not in found and (coded := next((n for n in left if holds_codes(left[n])), None)):
        found["currency"] = coded
    if "unit_price" in found and not {"quantity", "amount"} & found.keys():  # a price of no quantity is what was paid
        found["amount"] = found.pop("unit_price")
    return {ours: found[ours] for ours in NAMES if ours in found}


def _said(column: pa.Array) -> pa.Array:
    """Null where nothing but blanks stands: quoted, it is a text."""
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)


def named(ours: str, header: Iterable[str]) -> str | None:
    """The column that has a name for it, the likeliest; None where none has.

    >>> named("customer_id", ["Datum", "Kunden-Nr."]), named("amount", ["order_total", "n"]), named("amount", ["n"])
    ('Kunden-Nr.', 'order_total', None)
    """
    return next(iter(_alike(ours, header)), None)


def _alike(ours: str, names: Iterable[str]) -> list[str]:
    """Those that are names for it, then those whose last part is one (Order Lines/Quantity) or that begin with one,
    then amounts that end with one, the likeliest first.

    What ends with one is an amount (order_total, Rechnungsbetrag), whatever it begins with; a discount is no count.
    """
    bares = {name: bare(name) for name in names if name}
    same = [name for word in NAMES[ours].split() for name in bares if bares[name] == word]
    last = {name: bare(re.split("[/.:>]", name)[-1]) for name in bares if not PART.search(bares[name])}
    longer = [name for word in NAMES[ours].split() if word != "name" for name in last if last[name] == word]
    longer += [name for word in _long(ours) for name in bares if bares[name].startswith(word)]
    ends = [name for word in _long("amount") for name in bares if bares[name].endswith(word)]
    if ours == "amount":
        longer = [name for name in longer if not NO_SUM.search(bares[name])]
        ends = [name for name in ends if not PART.search(bares[name])]
        return [*dict.fromkeys([*same, *(name for name in (*longer, *ends) if not UNDONE.search(name))])]
    if ours == "event_type":
        longer = [name for name in longer if not NO_WORD.search(bares[name])]
    found = [*same, *(name for name in longer if ours == "unit_price" or name not in ends)]
    if ours == "order_id":  # amazon-order-id
        found += [name for word in _long(ours) for name in bares if bares[name].endswith(word)]
    if ours in ("customer_id", "order_id", "product_id"):
        found = [name for name in found if name in same or not NO_ID.search(bares[name])]
    return [*dict.fromkeys(found)]


def _long(ours: str) -> list[str]:
    return [word for word in NAMES[ours].split() if len(word) >= LONG]


def _may(ours: str, column: pa.Array) -> bool:
    """Whether what stands there can be that."""
    text = column.drop_null()
    if not len(text):
        return False
    if ours == "occurred_at":
        return _timed(text) >= MOSTLY * len(text) or _days(text)
    if ours == "time_of_day":
        return joined.are_times(text) >= MOSTLY * len(text)
    if ours in ("customer_id", "order_id", "product_id") and written(text.unique().slice(0, FEW)):
        return False
    if ours == "customer_id" and len(text) >= ALL and len(text.unique()) == 1:
        return False  # a till's user
    if ours == "order_id":  # a person's name, a word for how far it came or for its kind is none
        return (pc.sum(pc.match_substring_regex(text, r"\d")).as_py() or 0) >= MOSTLY * len(text)

    from offline.history.numerals import known

    if ours in ("quantity", "unit_price", "amount"):
        return numbers(text)
    if ours == "currency":
        return all(known(word.strip().upper()) for word in text.unique().to_pylist())
    return True


def numbers(text: pa.Array) -> bool:
    """Are most of its different values numbers? text: without nulls."""
    from offline.history.numerals import Votes

    votes = Votes()
    votes.count(text)
    return votes.numbers >= MOSTLY * votes.seen


def written(column: pa.Array) -> bool:
    """Is it one of times, whatever its name? A code of digits may be one by its size alone; what is written as a time
    has something between its digits."""
    text = column.drop_null()
    one = pc.match_substring_regex(text, r"^\d+[.,]\d*$")  # 1234567890123.0 is an id that became a float
    written = text.filter(pc.and_not(pc.match_substring_regex(text, r"\d[^\d]+\d"), one))
    return len(text) > 0 and _timed(written) >= MOSTLY * len(text)


def _timed(text: pa.Array) -> int:
    """How many are times, with the order of day and month that reads the more of them."""
    return max(int(read.sum()) for read in _read(text))


def _read(text: pa.Array) -> list[Bools]:
    """Which are times with the day first, and which with the month first."""
    from offline.history.times import times

    return [times(text, "UTC", dayfirst)[0] >= 0 for dayfirst in (True, False)]


def _dates_alone(column: pa.Array) -> bool:
    """Are they dates, none of which tells the time of its day?"""
    text = pc.replace_substring_regex(pc.utf8_trim_whitespace(column.drop_null()), joined.MIDNIGHT, "")
    clocks, bare = (pc.sum(pc.match_substring_regex(text, form)).as_py() for form in (r"\d[:h]\d\d", r"^\d{8}$"))
    return not clocks and (written(text) or bare == len(text) > 0)


def _days(text: pa.Array) -> bool:
    """Are they days as spreadsheets count them?"""
    from offline.history.times import looks_serial

    return looks_serial(text)


def unread(ours: str, column: pa.Array) -> str:
    """Why a column that has a name for it cannot be it, with an example.

    >>> unread("occurred_at", pa.array(["2024-01-05", "someday"])), unread("amount", pa.array([None, " "]))
    ("times like 'someday' are not read", 'nothing stands in it')
    """
    from offline.history.numerals import Parts

    text = _said(column).drop_null().unique()
    if not len(text):
        return "nothing stands in it"
    if ours == "occurred_at":
        first, second = _read(text)
        kind, bad = "times", ~(first | second)
    elif ours == "amount":
        kind, bad = "numbers", Parts(text).body.is_null().to_numpy(zero_copy_only=False)
    else:
        return f"what stands there ({text[0].as_py()[:30]!r}) looks like times"
    example = next(iter(text.filter(pa.array(bad)).to_pylist()), text[0].as_py())
    return f"{kind} like {example[:30]!r} are not read"


def examples(column: pa.Array, most: int = 3) -> list[str]:
    """The first different texts of a column, shortened."""
    return [text[:30] for text in _said(column).drop_null().unique().slice(0, most).to_pylist()]
