"""The words with which programs write nothing, and those with which they end a list.

Rule: a word means nothing where it stands unquoted, in any case and with blanks around it; what a person quoted is a
value (NA is a country). A total is one only in a row that has no time.
"""

import pyarrow as pa
import pyarrow.compute as pc

# pandas' list, Excel's errors in the languages it is most used in, databases' and R's words, and what people type.
NOTHING = (
    *(
        "",
        "NULL",
        "NONE",
        "NIL",
        "NA",
        "N/A",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "<NA>",
        "NAN",
        "-NAN",
        "NAT",
        "\\N",
        "-",
        "--",
    ),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "(NULL)", "<NULL>", "[NULL]", "(BLANK)", "(EMPTY)", "N.A.", "?"),
    *("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NV", "#WERT!", "#BEZUG!", "#ZAHL!"),
    *("#N/D", "#ND", "#VALEUR!", "#VALOR!", "#¡VALOR!", "#¡REF!", "#VALORE!", "#RIF!", "#NOM?", "#NOME?", "#¿NOMBRE?"),
    *("#¡DIV/0!", "#¡NUM!", "#¡NULO!", "#NOMBRE!", "#NUL!", "#NULO!", "#DIV/0", "#SPILL!", "#CALC!", "#FIELD!"),
    *("#GETAL!", "#NAAM?", "#VERW!", "#DEEL/0!", "#LEEG!", "#WAARDE!", "#N/B", "#ÜBERLAUF!", "#PROPAGATION!"),
    *("#ARG!", "#ADR!", "#DZIEL/0!", "#LICZBA!", "#NAZWA?", "#HODNOTA!", "#ODKAZ!", "#NÁZEV?", "#ČÍSLO!"),
    *("#ÉRTÉK!", "#HIÁNYZIK", "#HIV!", "#NÉV?", "#SZÁM!", "#ZÉRÓOSZTÓ!", "#DEĞER!", "#YOK", "#BAŞV!", "#SAYI!", "#AD?"),
    *("#VÆRDI!", "#NAVN?", "#I/T", "#REFERENCE!", "#VÄRDEFEL!", "#REFERENS!", "#NAMN?", "#SAKNAS!", "#VERDI!"),
    *("#ARVO!", "#PUUTTUU!", "#VIITTAUS!", "#NIMI?", "#LUKU!", "#ΤΙΜΗ!", "#Δ/Υ"),  # noqa: RUF001
    *("#Н/Д", "#ЗНАЧ!", "#ССЫЛКА!", "#ИМЯ?", "#ЧИСЛО!", "#ДЕЛ/0!", "#ПУСТО!"),  # noqa: RUF001
    *(
        "UNDEFINED",
        "(NONE)",
        "(LEER)",
        "(VIDE)",
        "(VACÍO)",
        "(VACÍAS)",
        "(VUOTO)",
        "(VAZIO)",
        "(LEEG)",
        "(PUSTE)",
        "(N/A)",
        "K.A.",
        "N.V.",
    ),
)
CASES = (str, str.lower, str.title, str.capitalize)
# As Arrow compares them, to the letter; what has blanks around it, `nothing` finds.
MISSING = sorted({"NaN", "-NaN", "NaT", "k.A.", "n.V.", *(case(word) for word in NOTHING for case in CASES)})
_TOTALS = (
    "totals?|sum|summe|gesamt|gesamtsumme|zwischensumme|totale|suma|totaal|итого|合計|总计|endsumme|insgesamt"
    "|gesamtergebnis|total g[eé]n[eé]ral|total general|totale (?:complessivo|generale)|eindtotaal|razem|celkem|összesen"
)  # with what spreadsheets write below a pivot table
TOTAL = rf"(?i)^(?:\W*(?:grand |sub[- ]?)?(?:{_TOTALS})\W*|\s*\*{{1,4}}\s*)$"  # SAP's lists have stars


def nothing(text: pa.Array) -> pa.Array:
    """Which texts are words for nothing but for case and blanks around them; null where there is no text.

    >>> nothing(pa.array(["#n/a", " Null", "Nathan", None])).to_pylist()
    [True, True, False, None]
    """
    known = pc.is_in(pc.utf8_upper(pc.utf8_trim_whitespace(text)), pa.array(NOTHING, text.type))
    return pc.if_else(pc.is_valid(text), known, None)


def padded(text: pa.Array) -> pa.Array:
    """Which of these have blanks around them, so that whoever read the file left them standing.

    >>> padded(pa.array(["#n/a", " Null", " Nathan", None])).to_pylist()
    [False, True, False, None]
    """
    return pc.and_(pc.not_equal(pc.utf8_trim_whitespace(text), text), nothing(text))
