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
    &["grow", "grew", "grown", "rise", "rose", "risen"],
    &["fall", "fell", "fallen", "drop"],
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
        "not"
            | "no"
            | "never"
            | "none"
            | "neither"
            | "nor"
            | "without"
            | "cannot"
            | "nothing"
            | "nobody"
            | "unable"
    )
}

/// Words that deny and say what: "forbidden" is "not allowed".
pub(super) fn denies_within(word: &str) -> bool {
    [
        "forbid",
        "forbidden",
        "forbids",
        "prohibit",
        "prohibited",
        "prohibits",
        "ban",
        "banned",
        "bans",
        "unsuitable",
    ]
    .contains(&word)
        || word.strip_prefix("non").is_some_and(|rest| rest.len() > 5)
}

/// Words that change a claim into its opposite.
pub(super) const OPPOSITES: &[(&str, &str)] = &[
    ("increase", "decrease"),
    ("rise", "fall"),
    ("higher", "lower"),
    ("more", "less"),
    ("before", "after"),
    ("accept", "reject"),
    ("accepted", "rejected"),
    ("approve", "reject"),
    ("approve", "deny"),
    ("include", "exclude"),
    ("included", "excluded"),
    ("open", "closed"),
    ("free", "paid"),
    ("always", "never"),
    ("first", "last"),
    ("win", "lose"),
    ("true", "false"),
    ("required", "optional"),
    ("mandatory", "optional"),
    ("enable", "disable"),
    ("enabled", "disabled"),
    ("buy", "sell"),
    ("north", "south"),
    ("east", "west"),
    ("hot", "cold"),
    ("safe", "dangerous"),
    ("eligible", "ineligible"),
    ("possible", "impossible"),
    ("legal", "illegal"),
    ("success", "failure"),
    ("succeeded", "failed"),
    ("gain", "loss"),
    ("profit", "loss"),
    ("early", "late"),
    ("start", "end"),
    ("import", "export"),
    ("refundable", "nonrefundable"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_paraphrases_are_one() {
        for (a, b) in
            [("used", "use"), ("released", "launched"), ("children", "kids"), ("bathrooms", "bathroom")]
        {
            assert_eq!(root(a), root(b), "{a} {b}");
        }
        assert_ne!(root("bathroom"), root("bedroom"));
    }
}
