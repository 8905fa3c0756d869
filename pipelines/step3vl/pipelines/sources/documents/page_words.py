"""The words that forms, receipts, letters and screens have in common, in several languages, and values for them."""

import random
from collections.abc import Callable

from step3vl.pipelines.sources.text.scripts import main_script

_KEYS = (
    "name", "address", "city", "country", "phone", "email", "date", "time", "number", "id_number", "birth", "sex",
    "occupation", "company", "department", "position", "expires", "signature", "item", "quantity", "price",
    "amount", "subtotal", "tax", "total", "cash", "change", "card", "receipt", "invoice", "order", "table",
    "cashier", "thanks", "page", "chapter", "from", "to", "subject", "dear", "regards", "file", "edit", "view",
    "help", "settings", "search", "ok", "cancel", "save", "open", "yes", "no", "notice", "welcome", "figure",
    "contents", "notes",
)  # fmt: skip
# One line a language, in the order of the keys.
_WORDS = {
    "en": "Name|Address|City|Country|Phone|E-mail|Date|Time|No.|ID number|Date of birth|Sex|Occupation|Company|"
    "Department|Position|Valid until|Signature|Item|Qty|Price|Amount|Subtotal|Tax|Total|Cash|Change|Card|Receipt|"
    "Invoice|Order|Table|Cashier|Thank you for your visit|Page|Chapter|From|To|Subject|Dear|Kind regards|File|Edit|"
    "View|Help|Settings|Search|OK|Cancel|Save|Open|Yes|No|Notice|Welcome|Figure|Contents|Notes",
    "zh": "姓名|地址|城市|国家|电话|邮箱|日期|时间|编号|证件号码|出生日期|性别|职业|公司|部门|职务|有效期至|签名|"
    "品名|数量|单价|金额|小计|税额|合计|现金|找零|刷卡|收据|发票|订单|桌号|收银员|谢谢惠顾|页|章|发件人|收件人|主题|"
    "尊敬的|此致敬礼|文件|编辑|视图|帮助|设置|搜索|确定|取消|保存|打开|是|否|通知|欢迎|图|目录|备注",
    "ja": "氏名|住所|市区町村|国名|電話番号|メール|日付|時刻|番号|証明書番号|生年月日|性別|職業|会社名|部署|役職|"
    "有効期限|署名|品名|数量|単価|金額|小計|消費税|合計|現金|お釣り|カード|領収書|請求書|注文|テーブル|担当|"
    "ありがとうございました|ページ|章|差出人|宛先|件名|拝啓|敬具|ファイル|編集|表示|ヘルプ|設定|検索|了解|取消|保存|"
    "開く|はい|いいえ|お知らせ|ようこそ|図|目次|備考",
    "ko": "이름|주소|도시|국가|전화번호|이메일|날짜|시간|번호|신분증 번호|생년월일|성별|직업|회사|부서|직위|유효기간|"
    "서명|품목|수량|단가|금액|소계|부가세|합계|현금|거스름돈|카드|영수증|청구서|주문|테이블|담당자|감사합니다|쪽|장|"
    "보낸 사람|받는 사람|제목|친애하는|감사를 담아|파일|편집|보기|도움말|설정|검색|확인|취소|저장|열기|예|아니요|"
    "공지|환영합니다|그림|차례|비고",
    "fr": "Nom|Adresse|Ville|Pays|Téléphone|Courriel|Date|Heure|N°|Numéro d'identité|Date de naissance|Sexe|"
    "Profession|Société|Service|Fonction|Valable jusqu'au|Signature|Article|Qté|Prix|Montant|Sous-total|TVA|Total|"
    "Espèces|Rendu|Carte|Reçu|Facture|Commande|Table|Caisse|Merci de votre visite|Page|Chapitre|De|À|Objet|Cher|"
    "Cordialement|Fichier|Édition|Affichage|Aide|Paramètres|Rechercher|OK|Annuler|Enregistrer|Ouvrir|Oui|Non|Avis|"
    "Bienvenue|Figure|Sommaire|Remarques",
    "de": "Name|Adresse|Stadt|Land|Telefon|E-Mail|Datum|Uhrzeit|Nr.|Ausweisnummer|Geburtsdatum|Geschlecht|Beruf|Firma|"
    "Abteilung|Funktion|Gültig bis|Unterschrift|Artikel|Menge|Preis|Betrag|Zwischensumme|MwSt.|Summe|Bar|Rückgeld|"
    "Karte|Quittung|Rechnung|Bestellung|Tisch|Kasse|Vielen Dank für Ihren Besuch|Seite|Kapitel|Von|An|Betreff|Lieber|"
    "Mit freundlichen Grüßen|Datei|Bearbeiten|Ansicht|Hilfe|Einstellungen|Suchen|OK|Abbrechen|Speichern|Öffnen|Ja|"
    "Nein|Hinweis|Willkommen|Abbildung|Inhalt|Bemerkungen",
    "es": "Nombre|Dirección|Ciudad|País|Teléfono|Correo|Fecha|Hora|N.º|Número de identidad|Fecha de nacimiento|Sexo|"
    "Profesión|Empresa|Departamento|Cargo|Válido hasta|Firma|Artículo|Cant.|Precio|Importe|Subtotal|IVA|Total|"
    "Efectivo|Cambio|Tarjeta|Recibo|Factura|Pedido|Mesa|Cajero|Gracias por su visita|Página|Capítulo|De|Para|Asunto|"
    "Estimado|Atentamente|Archivo|Editar|Ver|Ayuda|Ajustes|Buscar|Aceptar|Cancelar|Guardar|Abrir|Sí|No|Aviso|"
    "Bienvenidos|Figura|Índice|Notas",
    "pt": "Nome|Endereço|Cidade|País|Telefone|E-mail|Data|Hora|N.º|Número de identidade|Data de nascimento|Sexo|"
    "Profissão|Empresa|Departamento|Cargo|Válido até|Assinatura|Artigo|Qtd.|Preço|Valor|Subtotal|IVA|Total|Dinheiro|"
    "Troco|Cartão|Recibo|Fatura|Pedido|Mesa|Caixa|Obrigado pela visita|Página|Capítulo|De|Para|Assunto|Caro|"
    "Atenciosamente|Ficheiro|Editar|Ver|Ajuda|Definições|Procurar|OK|Cancelar|Guardar|Abrir|Sim|Não|Aviso|Bem-vindo|"
    "Figura|Índice|Notas",
    "it": "Nome|Indirizzo|Città|Paese|Telefono|E-mail|Data|Ora|N.|Numero di documento|Data di nascita|Sesso|"
    "Professione|Azienda|Reparto|Qualifica|Valido fino al|Firma|Articolo|Q.tà|Prezzo|Importo|Subtotale|IVA|Totale|"
    "Contanti|Resto|Carta|Ricevuta|Fattura|Ordine|Tavolo|Cassa|Grazie per la visita|Pagina|Capitolo|Da|A|Oggetto|Caro|"
    "Cordiali saluti|File|Modifica|Vista|Aiuto|Impostazioni|Cerca|OK|Annulla|Salva|Apri|Sì|No|Avviso|Benvenuti|"
    "Figura|Indice|Note",
    "ru": "Имя|Адрес|Город|Страна|Телефон|Эл. почта|Дата|Время|№|Номер документа|Дата рождения|Пол|Профессия|"
    "Организация|Отдел|Должность|Действителен до|Подпись|Товар|Кол-во|Цена|Сумма|Промежуточный итог|НДС|Итого|"
    "Наличные|Сдача|Карта|Чек|Счёт|Заказ|Стол|Кассир|Спасибо за покупку|Страница|Глава|От|Кому|Тема|Уважаемый|"
    "С уважением|Файл|Правка|Вид|Справка|Настройки|Поиск|ОК|Отмена|Сохранить|Открыть|Да|Нет|Объявление|"
    "Добро пожаловать|Рисунок|Содержание|Примечания",
    "ar": "الاسم|العنوان|المدينة|البلد|الهاتف|البريد|التاريخ|الوقت|الرقم|رقم الهوية|تاريخ الميلاد|الجنس|المهنة|الشركة|"
    "القسم|الوظيفة|صالح حتى|التوقيع|الصنف|الكمية|السعر|المبلغ|المجموع الفرعي|الضريبة|المجموع|نقدا|الباقي|بطاقة|إيصال|"
    "فاتورة|طلب|طاولة|أمين الصندوق|شكرا لزيارتكم|صفحة|فصل|من|إلى|الموضوع|عزيزي|مع التحية|ملف|تحرير|عرض|مساعدة|إعدادات|"
    "بحث|موافق|إلغاء|حفظ|فتح|نعم|لا|إعلان|مرحبا|شكل|المحتويات|ملاحظات",
    "hi": "नाम|पता|शहर|देश|फ़ोन|ईमेल|दिनांक|समय|संख्या|पहचान संख्या|जन्म तिथि|लिंग|पेशा|कंपनी|विभाग|पद|मान्य तिथि|"
    "हस्ताक्षर|वस्तु|मात्रा|मूल्य|राशि|उप-योग|कर|कुल|नकद|वापसी|कार्ड|रसीद|बिल|आदेश|मेज़|कैशियर|पधारने के लिए धन्यवाद|"
    "पृष्ठ|अध्याय|प्रेषक|प्राप्तकर्ता|विषय|प्रिय|सादर|फ़ाइल|संपादन|दृश्य|सहायता|सेटिंग|खोज|ठीक|रद्द करें|सहेजें|"
    "खोलें|हाँ|नहीं|सूचना|स्वागत|चित्र|विषय-सूची|टिप्पणी",
}
WORDS: dict[str, dict[str, str]] = {
    language: dict(zip(_KEYS, words.split("|"), strict=True)) for language, words in _WORDS.items()
}
_SCRIPTS = {"CHINESE": "zh", "JAPANESE": "ja", "KOREAN": "ko", "CYRILLIC": "ru", "ARABIC": "ar", "DEVANAGARI": "hi"}
_COMMON = {
    "en": "the and of to is in that for with",
    "fr": "les des est une dans que pour qui du",
    "de": "der die und das ist nicht ein mit den",
    "es": "los que del las para una por con el",
    "pt": "não uma que para os do da em com",
    "it": "che della per il di non gli una sono",
}
_COMMON_SETS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def language_of(text: str) -> str:
    """The language whose words suit a text; `en` for those that the table does not have."""
    script = main_script(text)
    if script != "LATIN":
        return _SCRIPTS.get(script, "en")
    words = text.lower().split()
    counts = {language: sum(word in common for word in words) for language, common in _COMMON_SETS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else "en"


def _date(rng: random.Random, language: str) -> str:
    year, month, day = rng.randint(1960, 2035), rng.randint(1, 12), rng.randint(1, 28)
    if language in ("zh", "ja") and rng.random() < 0.5:
        return f"{year}年{month}月{day}日"
    if language == "ko" and rng.random() < 0.5:
        return f"{year}. {month}. {day}."
    formats = ("{0}-{1:02}-{2:02}", "{2:02}/{1:02}/{0}", "{2}.{1}.{0}", "{1:02}/{2:02}/{0}", "{0}/{1:02}/{2:02}")
    return rng.choice(formats).format(year, month, day)


def _money(rng: random.Random, language: str) -> str:
    amount = round(10 ** rng.uniform(0, 4), 2)
    if language in ("ja", "ko"):
        return f"{round(amount) * 10:,}"
    if language in ("de", "es", "it", "pt", "fr", "ru"):
        return f"{amount:.2f}".replace(".", ",")
    return f"{amount:,.2f}"


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _identifier(rng: random.Random, language: str) -> str:
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(0, 3)))
    return letters + rng.choice(("", "-")) * bool(letters) + _digits(rng, rng.randint(5, 12))


def _phone(rng: random.Random, language: str) -> str:
    return rng.choice((
        f"+{rng.randint(1, 98)} {_digits(rng, 3)} {_digits(rng, 4)} {_digits(rng, 3)}",
        f"({_digits(rng, 3)}) {_digits(rng, 3)}-{_digits(rng, 4)}",
        f"1{_digits(rng, 10)}",
        f"0{_digits(rng, 2)}-{_digits(rng, 8)}",
    ))  # fmt: skip


def _email(rng: random.Random, language: str) -> str:
    def word(length: int) -> str:
        return "".join(rng.choice("bcdfghklmnprstv") + rng.choice("aeiou") for _ in range(length))

    return (
        f"{word(2)}{rng.choice(('', '.', '_', '-'))}{word(1)}{_digits(rng, rng.choice((0, 0, 2)))}@{word(2)}.example"
    )


VALUES: dict[str, Callable[[random.Random, str], str]] = {
    "date": _date,
    "birth": _date,
    "expires": _date,
    "time": lambda rng, _: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
    "phone": _phone,
    "email": _email,
    "number": _identifier,
    "id_number": _identifier,
    "order": _identifier,
    "invoice": _identifier,
    "card": lambda rng, _: "**** **** **** " + _digits(rng, 4),
    "quantity": lambda rng, _: str(rng.choice((1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12, 24))),
    "table": lambda rng, _: str(rng.randint(1, 60)),
    "amount": _money,
    "price": _money,
}
"""Makes a value of a key in the style of a language; keys without one take words of the text."""
