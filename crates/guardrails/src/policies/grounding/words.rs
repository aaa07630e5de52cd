//! Words that say the same: forms of one word, and words that claims are paraphrased with.

use crate::policies::lexical::stem;

/// Groups of words that say the same in a claim; the first stands for all.
const SAME: &[&[&str]] = &[
    &["launch", "release", "introduce", "unveil"],
    &["found", "establish", "start", "create", "begin", "began", "begun", "commence", "launching"],
    &["use", "used", "using", "usage"],
    &["buy", "bought", "purchase"],
    &["cost", "price", "priced", "fee"],
    &["weigh", "weight"],
    &["high", "height", "tall"],
    &["long", "length", "longer"],
    &["warranty", "guarantee", "warranties", "guaranteed"],
    &["finish", "complete", "completion"],
    &["child", "children", "kid", "kids"],
    &["people", "person", "persons"],
    &["employ", "employee", "employees", "employer", "staff", "worker"],
    &[
        "allow",
        "allowed",
        "permit",
        "permitted",
        "forbid",
        "forbidden",
        "prohibit",
        "prohibited",
        "ban",
        "banned",
    ],
    &["admit", "admitted", "admission"],
    &["lead", "led", "head", "leader"],
    &["grant", "give", "given", "gave"],
    &["pay", "paid", "payment"],
    &["install", "installation", "fit", "fitting", "fitted"],
    &["cause", "make", "made", "making"],
    &["drowsy", "drowsiness", "sleepy"],
    &["save", "saving", "savings"],
    &["charge", "charging"],
    &["cover", "covered", "coverage"],
    &["return", "refund", "refundable"],
    &["end", "cancel", "terminate"],
    &["deliver", "delivery", "ship", "shipping", "shipped"],
    &["design", "designer"],
    &["build", "built"],
    &["take", "took", "taken"],
    &["sleep", "slept"],
    &["keep", "kept", "store", "stored"],
    &["leave", "left", "depart", "departure"],
    &["arrive", "arrival"],
    &["grow", "grew", "grown", "rise", "rose", "risen", "increase", "increased"],
    &["fall", "fell", "fallen", "drop", "decrease", "decreased", "decline", "declined"],
    &["bicycle", "bike", "bikes"],
    &["remain", "stay", "stayed"],
    &["choose", "chose", "chosen"],
    &["say", "said"],
    &["write", "wrote", "written"],
    &["know", "knew", "known"],
    &["win", "won"],
    &["lose", "lost"],
    &["hold", "held"],
    &["meet", "met"],
    &["sell", "sold"],
    &["send", "sent"],
    &["fly", "flight", "flew", "flown"],
    &["invoice", "bill"],
    &["discount", "reduction"],
    &["car", "automobile", "vehicle"],
    &["doctor", "physician"],
    &["company", "firm", "business"],
    &["renovate", "refurbish"],
    &["need", "require", "requires", "required"],
    &["show", "shown"],
    &["see", "seen", "saw"],
    &["work", "works"],
    &["suitable", "suited"],
    &["feed", "fed"],
    &["bring", "brought"],
    &["teach", "taught"],
    &["think", "thought"],
    &["catch", "caught"],
    &["drive", "drove", "driven"],
    &["eat", "ate", "eaten"],
    &["drink", "drank", "drunk"],
    &["speak", "spoke", "spoken"],
    &["break", "broke", "broken"],
    &["wear", "wore", "worn"],
    &["sing", "sang", "sung"],
    &["swim", "swam", "swum"],
    &["run", "ran"],
    &["come", "came"],
    &["go", "went", "gone"],
    &["tell", "told"],
    &["feel", "felt"],
    &["hear", "heard"],
    &["lend", "lent"],
    &["spend", "spent"],
    &["draw", "drew", "drawn"],
    &["throw", "threw", "thrown"],
    &["steal", "stole", "stolen"],
    &["freeze", "froze", "frozen"],
    &["forget", "forgot", "forgotten"],
    &["hide", "hid", "hidden"],
    &["ride", "rode", "ridden"],
    &["sink", "sank", "sunk"],
    &["stand", "stood"],
    &["strike", "struck"],
    &["understand", "understood"],
    &["wake", "woke"],
    &["fight", "fought"],
    &["shoot", "shot"],
    &["bite", "bitten"],
    &["blow", "blew", "blown"],
    &["become", "became"],
    &["shrink", "shrank", "shrunk"],
];

/// Words that claims are made with and that say nothing of their own.
const LIGHT: &[&str] = &[
    "get",
    "gets",
    "got",
    "getting",
    "receive",
    "receives",
    "possible",
    "impossible",
    "don",
    "without",
    "last",
    "lasts",
    "lasting",
    "roughly",
    "approximately",
    "around",
    "nearly",
    "almost",
    "period",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "annually",
    "approx",
    "circa",
    "full",
    "fully",
    "total",
    "altogether",
    "currently",
    "now",
    "additionally",
    "furthermore",
    "moreover",
    "overall",
    "able",
    "every",
    "like",
    "there",
    "way",
    "thus",
    "yet",
    "whether",
    "while",
    "still",
    "note",
    "wait",
    "because",
    "let",
    "upon",
];

/// What a word in lower case is compared as.
pub(super) fn root(word: &str) -> String {
    // "Ferries" is "ferry", "carried" is "carry".
    let ending = word.strip_suffix("ies").or_else(|| word.strip_suffix("ied"));
    let singular = ending.filter(|rest| rest.len() > 2).map(|rest| format!("{rest}y"));
    let word = singular.as_deref().unwrap_or(word);
    let stemmed = stem(word);
    let same =
        SAME.iter().find(|group| group.iter().any(|it| *it == word || (it.len() > 3 && stem(it) == stemmed)));
    same.map_or(stemmed, |group| stem(group[0]))
}

/// Whether a word in lower case says nothing of its own.
pub(super) fn is_light(word: &str) -> bool {
    LIGHT.contains(&word)
}

/// Whether a root says how things stand to each other, or that something may be, and is no part of what is claimed.
pub(super) fn is_relation(root: &str) -> bool {
    matches!(
        root,
        "befor"
            | "before"
            | "after"
            | "during"
            | "until"
            | "betwe"
            | "between"
            | "sinc"
            | "since"
            | "against"
            | "through"
            | "allow"
    )
}

/// Words that deny.
pub(super) fn is_denial(word: &str) -> bool {
    matches!(
        word,
        "not" | "no" | "never" | "none" | "neither" | "nor" | "without" | "cannot" | "nothing" | "nobody"
    )
}

/// Words that deny what another says; together with "not" they say that other.
const DENIED: &[(&str, &str)] = &[
    ("unavailable", "available"),
    ("ineligible", "eligible"),
    ("illegal", "legal"),
    ("invalid", "valid"),
    ("impossible", "possible"),
    ("unsafe", "safe"),
    ("unsuitable", "suitable"),
    ("unnecessary", "necessary"),
    ("uninsured", "insured"),
    ("unsupported", "support"),
    ("unlimited", "limit"),
    ("unaffected", "affected"),
    ("unpaid", "paid"),
    ("unable", "able"),
    ("unlikely", "likely"),
    ("incomplete", "complete"),
    ("inaccessible", "accessible"),
    ("excluded", "included"),
    ("excludes", "includes"),
    ("exclude", "include"),
];

/// The word that this one denies.
pub(super) fn denied_word(word: &str) -> Option<&'static str> {
    DENIED.iter().find(|(denied, _)| *denied == word).map(|(_, plain)| *plain)
}

/// Words that deny and say what: "forbidden" is "not allowed".
pub(super) fn denies_within(word: &str) -> bool {
    ["forbid", "forbidden", "forbids", "prohibit", "prohibited", "prohibits", "ban", "banned", "bans"]
        .contains(&word)
        || denied_word(word).is_some()
        || word.strip_prefix("non").is_some_and(|rest| rest.len() > 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_paraphrases_are_one() {
        for (a, b) in [
            ("used", "use"),
            ("released", "launched"),
            ("children", "kids"),
            ("bathrooms", "bathroom"),
            ("ferries", "ferry"),
            ("married", "marry"),
            ("fed", "feeds"),
        ] {
            assert_eq!(root(a), root(b), "{a} {b}");
        }
        assert_ne!(root("bathroom"), root("bedroom"));
    }
}
