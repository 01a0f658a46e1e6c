package sample

import (
	"slices"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// tongue is somebody who writes in a language, what they write, and the forms in which their programs send it.
type tongue struct {
	name, address string
	subjects      []string
	greeting      string
	paragraphs    []string // each with its line breaks as LF
	closing       string
	forms         []form
}

// form is a charset and a content transfer encoding.
type form struct {
	charset  string
	encoding encoding.Encoding // nil: UTF-8
	transfer string            // 7bit, 8bit, quoted-printable or base64
}

var (
	utf8Raw    = form{charset: "UTF-8", transfer: "8bit"}
	utf8Quoted = form{charset: "utf-8", transfer: "quoted-printable"}
	utf8Base64 = form{charset: "utf-8", transfer: "base64"}
)

// tongues are of every script that mail is written in, in the charsets that were, and here and there still are, in use.
func tongues() []tongue {
	return slices.Concat(cyrillic(), indic(), eastern(), western(), northern(), midEastern())
}

func cyrillic() []tongue {
	return []tongue{
		{
			name: "Вера Соколова", address: "vera@example.org",
			subjects: []string{"Дача в субботу", "Яблоки и варенье", "Книга, о которой я говорила"},
			greeting: "Привет!",
			paragraphs: []string{
				"В субботу едем на дачу, места в машине хватит всем.\nВозьми, пожалуйста, тёплую куртку: вечером у реки холодно.",
				"Яблок в этом году столько, что мы варим варенье третий день подряд.\nДве банки я отложила для тебя.",
				"Нашла ту самую книгу о северных морях. Прочти сначала седьмую главу,\nтам про маяк и про старого смотрителя.",
			},
			closing: "Обнимаю,\nВера",
			forms: []form{
				{"koi8-r", charmap.KOI8R, "8bit"},
				{"windows-1251", charmap.Windows1251, "quoted-printable"},
				{"ISO-8859-5", charmap.ISO8859_5, "base64"},
				utf8Raw,
			},
		},
		{
			name: "Олена Ткач", address: "olena@example.net",
			subjects: []string{"Зустріч у четвер", "Їжачок у саду", "Ґанок уже готовий"},
			greeting: "Доброго дня!",
			paragraphs: []string{
				"У четвер о шостій збираємося в бібліотеці, ключ буде в мене.\nЧай і пиріг з вишнями обіцяю.",
				"У нашому саду оселився їжачок. Щовечора він приходить на ґанок\nі п’є воду з блюдця.",
			},
			closing: "Щиро,\nОлена",
			forms:   []form{{"windows-1251", charmap.Windows1251, "8bit"}, utf8Quoted},
		},
		{
			name: "Айгүл Сейітқызы", address: "aigul@example.com",
			subjects: []string{"Наурыз құтты болсын!", "Алматыдан сәлем", "Көктөбеге барайық"},
			greeting: "Сәлеметсіз бе!",
			paragraphs: []string{
				"Наурыз мейрамы құтты болсын! Дастарқан мол, көңіл көтеріңкі болсын.\nБіз бүгін наурыз көже пісіріп, бүкіл көршілерді шақырдық.",
				"Алматыда көктем ерте келді: тау бөктерінде қызғалдақ гүлдеп тұр.\nКешке қарай Көктөбеге шығып, қалаға жоғарыдан қарадық.",
				"Әжем сізге сәлем айтып жатыр. Ол жаңа үйде тұрғанына қуанышты,\nәсіресе терезеден көрінетін өзенге.",
				"Келесі аптада ұлымыз мектепке барады. Кітаптары мен дәптерлері дайын,\nтек жаңа сөмке алу керек.",
			},
			closing: "Құрметпен,\nАйгүл",
			forms:   []form{utf8Raw, utf8Base64, {"PT154", pt154{}, "8bit"}},
		},
		{
			name: "Бојана Илић", address: "bojana@example.org",
			subjects:   []string{"Пробе хора", "Фотографије са мора"},
			greeting:   "Здраво,",
			paragraphs: []string{"Проба хора је помјерена на уторак у седам.\nПонесите ноте, љубазно моли диригент.", "Фотографије са мора су коначно сређене, ево неколико најлепших."},
			closing:    "Поздрав,\nБојана",
			forms:      []form{utf8Quoted},
		},
	}
}

func indic() []tongue {
	return []tongue{
		{
			name: "मीरा जोशी", address: "meera@example.com",
			subjects: []string{"दीवाली की शुभकामनाएँ", "रविवार को घर आइए", "नई किताब मिल गई"},
			greeting: "नमस्ते,",
			paragraphs: []string{
				"आपको और आपके परिवार को दीवाली की हार्दिक शुभकामनाएँ।\nइस बार हमने घर पर ही मिठाइयाँ बनाई हैं, थोड़ी आपके लिए भी रखी हैं।",
				"रविवार को दोपहर के खाने पर घर आइए। माँ दाल, चावल और आलू की सब्ज़ी बनाएँगी,\nऔर बच्चे आपको अपना नया नाटक दिखाना चाहते हैं।",
				"कल शाम बारिश के बाद आसमान में इंद्रधनुष निकला। मैंने छत से एक तस्वीर ली है,\nघर पहुँचकर भेजती हूँ।",
				"जिस किताब की हम बात कर रहे थे, वह पुस्तकालय में मिल गई।\nपहला अध्याय पढ़कर बताइए कि आपको कैसी लगी।",
			},
			closing: "सादर,\nमीरा",
			forms:   []form{utf8Raw, utf8Base64, utf8Quoted},
		},
		{
			name: "অনন্যা সেন", address: "ananya@example.net",
			subjects:   []string{"শুভ নববর্ষ", "কলকাতা থেকে চিঠি"},
			greeting:   "নমস্কার,",
			paragraphs: []string{"শুভ নববর্ষ! নতুন বছর সবার ভালো কাটুক।\nআজ সকালে আমরা সবাই মিলে নদীর ধারে গান গেয়েছি।"},
			closing:    "ভালো থেকো,\nঅনন্যা",
			forms:      []form{utf8Base64},
		},
		{
			name: "கவிதா ராமன்", address: "kavitha@example.org",
			subjects:   []string{"பொங்கல் வாழ்த்துகள்", "மழை வந்தது"},
			greeting:   "வணக்கம்,",
			paragraphs: []string{"இனிய பொங்கல் வாழ்த்துகள்! இந்த ஆண்டு மழை நன்றாகப் பெய்தது,\nவயல்கள் எல்லாம் பச்சையாக இருக்கின்றன."},
			closing:    "அன்புடன்,\nகவிதா",
			forms:      []form{utf8Raw},
		},
	}
}

func eastern() []tongue {
	return []tongue{
		{
			name: "山田 花子", address: "hanako@example.com",
			subjects: []string{"お花見のご案内", "会議の議事録", "写真を送ります"},
			greeting: "こんにちは。",
			paragraphs: []string{
				"来週の土曜日に公園でお花見をします。\nお弁当とお茶は用意しますので、手ぶらでお越しください。",
				"先日の会議の議事録をまとめました。\n間違いがあれば、金曜日までにお知らせください。",
				"京都で撮った写真を送ります。雨の日のお寺はとても静かでした。",
			},
			closing: "よろしくお願いします。\n花子",
			forms: []form{
				{"ISO-2022-JP", japanese.ISO2022JP, "7bit"},
				{"Shift_JIS", japanese.ShiftJIS, "8bit"},
				{"EUC-JP", japanese.EUCJP, "base64"},
				utf8Base64,
			},
		},
		{
			name: "李小明", address: "xiaoming@example.net",
			subjects: []string{"周末去爬山吗？", "新菜谱", "火车票已经买好"},
			greeting: "你好！",
			paragraphs: []string{
				"这个周末天气很好，我们打算去爬山，早上七点在车站集合。\n请带上水和帽子。",
				"奶奶的饺子菜谱我终于写下来了，面要醒半个小时，馅里放一点姜。",
				"火车票已经买好，靠窗的座位留给你。",
			},
			closing: "祝好，\n小明",
			forms: []form{
				{"GB18030", simplifiedchinese.GB18030, "base64"},
				{"gb2312", simplifiedchinese.GBK, "8bit"},
				utf8Raw,
			},
		},
		{
			name: "陳美玲", address: "meiling@example.org",
			subjects:   []string{"中秋節快樂", "讀書會時間更改"},
			greeting:   "您好:",
			paragraphs: []string{"祝您中秋節快樂！今年的月餅是我們自己做的，\n有蓮蓉和紅豆兩種口味。", "讀書會改到星期三晚上八點，地點不變。"},
			closing:    "敬祝 平安\n美玲",
			forms:      []form{{"big5", traditionalchinese.Big5, "8bit"}, {"Big5", traditionalchinese.Big5, "base64"}},
		},
		{
			name: "김민지", address: "minji@example.com",
			subjects:   []string{"김장하는 날", "제주도 여행 사진"},
			greeting:   "안녕하세요,",
			paragraphs: []string{"이번 주 토요일에 김장을 합니다. 시간이 되시면 함께해 주세요.\n점심은 저희가 준비하겠습니다.", "제주도에서 찍은 사진을 보내 드립니다. 바다가 정말 푸르렀어요."},
			closing:    "감사합니다.\n민지 드림",
			forms:      []form{{"euc-kr", korean.EUCKR, "8bit"}, {"EUC-KR", korean.EUCKR, "base64"}, utf8Quoted},
		},
		{
			name: "สมหญิง ใจดี", address: "somying@example.net",
			subjects:   []string{"สุขสันต์วันสงกรานต์", "สูตรแกงเขียวหวาน"},
			greeting:   "สวัสดีค่ะ",
			paragraphs: []string{"สุขสันต์วันสงกรานต์นะคะ ปีนี้เราจะไปเยี่ยมคุณยายที่เชียงใหม่", "สูตรแกงเขียวหวานที่ขอไว้ ส่งมาให้แล้วค่ะ อย่าลืมใส่ใบโหระพา"},
			closing:    "ด้วยรัก\nสมหญิง",
			forms:      []form{{"TIS-620", charmap.Windows874, "8bit"}, utf8Base64},
		},
	}
}

func western() []tongue {
	return []tongue{
		{
			name: "Jörg Müller", address: "joerg@example.net",
			subjects:   []string{"Grüße aus dem Allgäu", "Schlüssel fürs Bootshaus", "Übungsblatt für Dienstag"},
			greeting:   "Hallo zusammen,",
			paragraphs: []string{"viele Grüße aus dem Allgäu! Die Kühe sind schon auf der Alm,\nund der Käse schmeckt heuer besonders würzig.", "der Schlüssel fürs Bootshaus liegt wieder unter dem dritten Blumentopf.\nBitte nach dem Rudern überall abschließen."},
			closing:    "Schöne Grüße\nJörg",
			forms:      []form{{"iso-8859-1", charmap.ISO8859_1, "quoted-printable"}, {"ISO-8859-1", charmap.ISO8859_1, "8bit"}},
		},
		{
			name: "Noëlle Lefèvre", address: "noelle@example.org",
			subjects:   []string{"Déjeuner de dimanche", "Cœur de laitue à 2 €", "À propos du potager"},
			greeting:   "Bonjour à tous,",
			paragraphs: []string{"Le déjeuner de dimanche aura lieu sous le tilleul, s’il ne pleut pas.\nMa sœur apporte une tarte aux mirabelles.", "Au marché, les œufs sont à 3 € la douzaine et le miel du rucher est arrivé.\nJ’en ai pris deux pots, dont un pour vous."},
			closing:    "Bises,\nNoëlle",
			forms:      []form{{"windows-1252", charmap.Windows1252, "8bit"}, {"windows-1252", charmap.Windows1252, "quoted-printable"}},
		},
		{
			name: "Benoît Œuvrard", address: "benoit@example.com",
			subjects:   []string{"Facture de 125 €", "Répétition de la chorale"},
			greeting:   "Bonjour,",
			paragraphs: []string{"Vous trouverez ci-dessous la facture : 125 €, payable à réception.", "La répétition de la chorale commence à 19 h 30, au chœur de l'église."},
			closing:    "Cordialement,\nBenoît",
			forms:      []form{{"ISO-8859-15", charmap.ISO8859_15, "8bit"}},
		},
		{
			name: "Begoña Núñez", address: "begona@example.net",
			subjects:   []string{"¿Vienes el sábado?", "Cumpleaños de la abuela"},
			greeting:   "¡Hola!",
			paragraphs: []string{"¿Vienes el sábado? Haremos tortilla y gazpacho en la azotea.\nDespués, si hace buen tiempo, bajamos a la playa.", "La abuela cumple noventa años y quiere bailar. ¡No puedes faltar!"},
			closing:    "Un abrazo,\nBegoña",
			forms:      []form{{"windows-1252", charmap.Windows1252, "quoted-printable"}, utf8Raw},
		},
		{
			name: "João Conceição", address: "joao@example.org",
			subjects:   []string{"Receita de pão de queijo", "Reunião de condomínio"},
			greeting:   "Olá, pessoal!",
			paragraphs: []string{"A receita é simples: polvilho, queijo, ovos e um pouco de leite.\nNão esqueça de deixar o forno bem quente antes.", "A reunião de condomínio será na terça-feira, às sete da noite."},
			closing:    "Até breve,\nJoão",
			forms:      []form{{"iso-8859-1", charmap.ISO8859_1, "quoted-printable"}},
		},
	}
}

func northern() []tongue {
	return []tongue{
		{
			name: "Łucja Żółkiewska", address: "lucja@example.com",
			subjects:   []string{"Grzybobranie w sobotę", "Zdjęcia z gór"},
			greeting:   "Cześć,",
			paragraphs: []string{"W sobotę jedziemy na grzyby, pociąg odjeżdża o szóstej dziesięć.\nWeź kosz i dobre buty, w lesie jest jeszcze mokro.", "Zdjęcia z gór już gotowe. Najładniejsze jest to ze źródłem i mgłą."},
			closing:    "Ściskam,\nŁucja",
			forms:      []form{{"iso-8859-2", charmap.ISO8859_2, "8bit"}, {"ISO-8859-2", charmap.ISO8859_2, "quoted-printable"}},
		},
		{
			name: "Jiří Dvořák", address: "jiri@example.net",
			subjects:   []string{"Příliš žluťoučký kůň", "Zkouška orchestru"},
			greeting:   "Ahoj,",
			paragraphs: []string{"příští středu máme zkoušku v sále u řeky, začínáme přesně v šest.\nHouslisté ať vezmou i náhradní struny.", "Na zahradě už kvetou třešně a včely mají plno práce."},
			closing:    "Měj se hezky,\nJiří",
			forms:      []form{{"windows-1250", charmap.Windows1250, "8bit"}},
		},
		{
			name: "Gülşen Işık", address: "gulsen@example.org",
			subjects:   []string{"Pazar kahvaltısı", "İstanbul'dan selamlar"},
			greeting:   "Merhaba,",
			paragraphs: []string{"Pazar günü kahvaltıya bekleriz. Börek ve çay bizden,\nsiz sadece güler yüzünüzü getirin.", "Boğaz bugün çok güzeldi; martılar vapuru iskeleye kadar izledi."},
			closing:    "Sevgiler,\nGülşen",
			forms:      []form{{"iso-8859-9", charmap.ISO8859_9, "quoted-printable"}},
		},
		{
			name: "Åsa Öberg", address: "asa@example.com",
			subjects:   []string{"Midsommar på ön", "Båten är målad"},
			greeting:   "Hej på er!",
			paragraphs: []string{"Båten är målad och ligger i sjön. Vi åker ut till ön på fredag\noch firar midsommar med sill och färskpotatis."},
			closing:    "Kram,\nÅsa",
			forms:      []form{{"iso-8859-1", charmap.ISO8859_1, "8bit"}},
		},
		{
			name: "Ms. Ada Whitfield", address: "ada@example.net",
			subjects:   []string{"Tide tables 🌊", "The lighthouse is open again ✨"},
			greeting:   "Good morning!",
			paragraphs: []string{"The lighthouse is open again – every Sunday, from ten to four.\nBring binoculars: the terns are back. 🐦", "“High water” on Saturday is at 07:42, so we sail at seven sharp ⛵."},
			closing:    "Fair winds,\nAda",
			forms:      []form{{"utf-16", unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "base64"}, {"UTF-16LE", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "base64"}},
		},
	}
}

func midEastern() []tongue {
	return []tongue{
		{
			name: "Ελένη Παππά", address: "eleni@example.org",
			subjects:   []string{"Καλό Πάσχα!", "Το καΐκι είναι έτοιμο"},
			greeting:   "Καλημέρα,",
			paragraphs: []string{"Καλό Πάσχα σε όλους! Φέτος ψήνουμε στην αυλή της γιαγιάς,\nκαι όποιος προλάβει θα κάτσει κάτω από τη συκιά.", "Το καΐκι είναι έτοιμο και περιμένει τον πρώτο άνεμο."},
			closing:    "Φιλιά,\nΕλένη",
			forms:      []form{{"ISO-8859-7", charmap.ISO8859_7, "8bit"}, utf8Base64},
		},
		{
			name: "נועה לוי", address: "noa@example.com",
			subjects:   []string{"ארוחת ערב ביום שישי", "שיעור ציור"},
			greeting:   "שלום,",
			paragraphs: []string{"ביום שישי כולם מוזמנים אלינו לארוחת ערב.\nסבתא מכינה את המרק המפורסם שלה.", "שיעור הציור עבר ליום שני בשעה חמש."},
			closing:    "להתראות,\nנועה",
			forms:      []form{{"windows-1255", charmap.Windows1255, "8bit"}, {"ISO-8859-8-I", charmap.ISO8859_8, "base64"}},
		},
		{
			name: "ليلى حداد", address: "layla@example.net",
			subjects:   []string{"عيد مبارك", "موعد الدرس"},
			greeting:   "مرحبا،",
			paragraphs: []string{"عيد مبارك لكم ولجميع أفراد العائلة.\nننتظركم غدا في بيت الجدة بعد الظهر.", "سيكون الدرس يوم الأربعاء في الساعة الرابعة."},
			closing:    "مع أطيب التحيات،\nليلى",
			forms:      []form{{"windows-1256", charmap.Windows1256, "8bit"}, utf8Base64},
		},
		{
			name: "ნინო ბერიძე", address: "nino@example.org",
			subjects:   []string{"რთველი კახეთში"},
			greeting:   "გამარჯობა,",
			paragraphs: []string{"კვირას კახეთში მივდივართ რთველზე. ყურძენი წელს ძალიან ტკბილია,\nსაღამოს კი ერთად ვიმღერებთ."},
			closing:    "პატივისცემით,\nნინო",
			forms:      []form{utf8Raw},
		},
	}
}
