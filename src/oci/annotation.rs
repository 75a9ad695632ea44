//! The annotation keys gimg reads or writes (OCI image-spec, annotations.md).

/// The reference name of an entry of an OCI layout's `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The reference of the base image.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The digest of the base image's manifest (or index).
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The full name that containerd gives an imported image (containerd, images/annotations.go).
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The revision of the source.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// The URL of the source.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The version of the program.
pub const VERSION: &str = "org.opencontainers.image.version";
/// When the image was made: RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// What a thing is called for people; of an artifact's layer the name of its file.
pub const TITLE: &str = "org.opencontainers.image.title";
/// What a sigstore bundle holds (cosign, "specs/BUNDLE_SPEC.md").
pub const BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";
/// What the statement in a sigstore bundle says.
pub const BUNDLE_PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
/// The signature of a layer, in base64, in cosign's old layout (cosign, "specs/SIGNATURE_SPEC.md").
pub const COSIGN_SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What a statement that nobody signed says: its predicate's type (in-toto/attestation, "spec/v1/bundle.md"; BuildKit).
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
