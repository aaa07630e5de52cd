//! Words that change a claim into its opposite.

use std::sync::LazyLock;

use super::words::root;

/// The roots of [`OPPOSITES`]; a pair whose words have one root tells nothing.
pub(super) fn opposites() -> &'static [(String, String)] {
    static ROOTS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let roots = OPPOSITES.iter().map(|(a, b)| (root(a), root(b)));
        roots.filter(|(a, b)| a != b).collect()
    });
    &ROOTS
}

/// Pairs of words; each says the opposite of the other where one stands in the place of the other.
#[rustfmt::skip]
const OPPOSITES: &[(&str, &str)] = &[
    ("rise", "fall"), ("higher", "lower"), ("more", "less"), ("before", "after"), ("accept", "reject"),
    ("accepted", "rejected"), ("approve", "reject"), ("approve", "deny"), ("open", "closed"), ("free", "paid"),
    ("always", "never"), ("first", "last"), ("win", "lose"), ("true", "false"), ("required", "optional"),
    ("mandatory", "optional"), ("enable", "disable"), ("enabled", "disabled"), ("buy", "sell"),
    ("north", "south"), ("east", "west"), ("hot", "cold"), ("safe", "dangerous"), ("success", "failure"),
    ("succeeded", "failed"), ("gain", "loss"), ("profit", "loss"), ("early", "late"), ("start", "end"),
    ("import", "export"), ("refundable", "nonrefundable"), ("strong", "weak"), ("common", "rare"),
    ("highest", "lowest"), ("high", "low"), ("maximum", "minimum"), ("most", "least"), ("best", "worst"),
    ("better", "worse"), ("faster", "slower"), ("larger", "smaller"), ("longer", "shorter"),
    ("older", "younger"), ("heavier", "lighter"), ("cheaper", "dearer"), ("ahead", "behind"),
    ("above", "below"), ("add", "remove"), ("add", "drop"), ("arrive", "depart"), ("inside", "outside"),
    ("public", "private"), ("permanent", "temporary"), ("morning", "evening"), ("summer", "winter"),
    ("always", "sometimes"), ("always", "rarely"), ("often", "rarely"), ("approved", "rejected"),
    ("employer", "employee"), ("buyer", "seller"), ("tenant", "landlord"), ("deeper", "shallower"),
    ("wider", "narrower"), ("thicker", "thinner"), ("taller", "shorter"), ("bigger", "smaller"),
    ("warmer", "colder"), ("warmer", "cooler"), ("stronger", "weaker"), ("harder", "softer"),
    ("brighter", "darker"), ("louder", "quieter"), ("earlier", "later"), ("nearer", "farther"),
    ("richer", "poorer"), ("more", "fewer"), ("greater", "smaller"), ("quicker", "slower"),
    ("easier", "harder"), ("happier", "sadder"), ("safer", "riskier"), ("cleaner", "dirtier"),
    ("wetter", "drier"), ("fuller", "emptier"), ("deep", "shallow"), ("wide", "narrow"), ("thick", "thin"),
    ("tall", "short"), ("big", "small"), ("large", "small"), ("warm", "cold"), ("warm", "cool"),
    ("hard", "soft"), ("bright", "dark"), ("light", "dark"), ("light", "heavy"), ("loud", "quiet"),
    ("loud", "silent"), ("near", "far"), ("rich", "poor"), ("quick", "slow"), ("fast", "slow"),
    ("easy", "difficult"), ("easy", "hard"), ("simple", "complicated"), ("clean", "dirty"), ("wet", "dry"),
    ("full", "empty"), ("cheap", "expensive"), ("cheap", "costly"), ("polite", "rude"), ("likely", "unlikely"),
    ("partly", "wholly"), ("partly", "fully"), ("partially", "fully"), ("new", "old"), ("young", "old"),
    ("sharp", "blunt"), ("smooth", "rough"), ("sweet", "bitter"), ("fresh", "stale"), ("raw", "cooked"),
    ("tight", "loose"), ("straight", "crooked"), ("even", "odd"), ("positive", "negative"),
    ("active", "passive"), ("active", "inactive"), ("visible", "hidden"), ("visible", "invisible"),
    ("known", "unknown"), ("legal", "illegal"), ("healthy", "sick"), ("alive", "dead"), ("calm", "rough"),
    ("broad", "narrow"), ("absent", "present"), ("guilty", "innocent"), ("male", "female"), ("liquid", "solid"),
    ("major", "minor"), ("single", "married"), ("voluntary", "compulsory"), ("voluntary", "mandatory"),
    ("manual", "automatic"), ("national", "international"), ("domestic", "foreign"), ("rural", "urban"),
    ("internal", "external"), ("inner", "outer"), ("upper", "lower"), ("urgent", "trivial"), ("sober", "drunk"),
    ("sunny", "cloudy"), ("dense", "sparse"), ("generous", "stingy"), ("modern", "ancient"),
    ("natural", "artificial"), ("normal", "abnormal"), ("successful", "unsuccessful"),
    ("satisfied", "dissatisfied"), ("pleased", "disappointed"), ("friendly", "hostile"),
    ("popular", "unpopular"), ("harmful", "harmless"), ("reversible", "irreversible"), ("regular", "irregular"),
    ("direct", "indirect"), ("locked", "unlocked"), ("on", "off"), ("accept", "refuse"), ("agree", "refuse"),
    ("agree", "disagree"), ("carry", "refuse"), ("leave", "remain"), ("leave", "stay"), ("leave", "enter"),
    ("enter", "exit"), ("arrive", "leave"), ("lend", "borrow"), ("give", "take"), ("push", "pull"),
    ("attract", "repel"), ("expand", "shrink"), ("expand", "contract"), ("grow", "shrink"),
    ("improve", "worsen"), ("strengthen", "weaken"), ("tighten", "loosen"), ("lock", "unlock"),
    ("fill", "empty"), ("lower", "raise"), ("rise", "sink"), ("climb", "descend"), ("ascend", "descend"),
    ("appear", "disappear"), ("remember", "forget"), ("love", "hate"), ("like", "dislike"),
    ("praise", "criticise"), ("praise", "blame"), ("support", "oppose"), ("encourage", "discourage"),
    ("build", "demolish"), ("build", "destroy"), ("create", "destroy"), ("repair", "damage"),
    ("protect", "endanger"), ("hire", "dismiss"), ("hire", "fire"), ("appoint", "dismiss"), ("include", "omit"),
    ("include", "exclude"), ("connect", "disconnect"), ("attach", "detach"), ("install", "uninstall"),
    ("continue", "stop"), ("continue", "cease"), ("pass", "fail"), ("heat", "cool"), ("melt", "freeze"),
    ("wake", "sleep"), ("work", "rest"), ("spend", "save"), ("earn", "spend"), ("export", "import"),
    ("expose", "conceal"), ("reveal", "hide"), ("reveal", "conceal"), ("confirm", "deny"), ("admit", "deny"),
    ("obey", "disobey"), ("trust", "distrust"), ("increase", "reduce"), ("speed", "slow"), ("sit", "stand"),
    ("float", "sink"), ("laugh", "cry"), ("catch", "miss"), ("hit", "miss"), ("defend", "attack"),
    ("deposit", "withdraw"), ("upload", "download"), ("lead", "follow"), ("permit", "refuse"), ("tie", "untie"),
    ("welcome", "reject"), ("renew", "cancel"), ("extend", "shorten"), ("lengthen", "shorten"),
    ("widen", "narrow"), ("upgrade", "downgrade"), ("promote", "demote"), ("begin", "end"), ("begin", "stop"),
    ("start", "stop"), ("hope", "fear"), ("front", "back"), ("top", "bottom"), ("left", "right"),
    ("day", "night"), ("dawn", "dusk"), ("beginning", "end"), ("entrance", "exit"), ("arrival", "departure"),
    ("majority", "minority"), ("victory", "defeat"), ("advantage", "disadvantage"), ("strength", "weakness"),
    ("benefit", "harm"), ("increase", "decrease"), ("demand", "supply"), ("creditor", "debtor"),
    ("lender", "borrower"), ("buyer", "vendor"), ("plaintiff", "defendant"), ("winner", "loser"),
    ("teacher", "pupil"), ("doctor", "patient"), ("guest", "host"), ("parent", "child"), ("victim", "offender"),
    ("ally", "enemy"), ("friend", "enemy"), ("optimist", "pessimist"), ("interior", "exterior"),
    ("height", "depth"), ("spring", "autumn"), ("weekday", "weekend"), ("everyone", "nobody"),
    ("everything", "nothing"), ("everywhere", "nowhere"), ("indoors", "outdoors"), ("upstairs", "downstairs"),
    ("forwards", "backwards"), ("upward", "downward"), ("together", "apart"), ("often", "seldom"),
    ("usually", "rarely"), ("always", "seldom"), ("quickly", "slowly"), ("directly", "indirectly"),
    ("publicly", "privately"), ("former", "latter"), ("previous", "next"), ("yesterday", "tomorrow"),
    ("western", "eastern"), ("northern", "southern"), ("plus", "minus"),
];
