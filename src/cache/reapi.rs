//! Messages of the Remote Execution API, version 2 (`build.bazel.remote.execution.v2`), and of `google.bytestream`: those
//! fields that we write or read. Others are left out of what is read.

use bytes::Bytes;
use prost::Message;

use crate::oci;

/// The number of SHA-256 in `DigestFunction.Value`.
pub(super) const SHA256: i32 = 1;

/// A message that is sent.
pub(super) trait Request: Message + 'static {
    /// What it is sent to: `/service/method`.
    const METHOD: &'static str;
    /// What comes back.
    type Answer: Message + Default + 'static;
}

/// `Digest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Digest {
    /// Hex digits.
    #[prost(string, tag = "1")]
    pub(super) hash: String,
    #[prost(int64, tag = "2")]
    pub(super) size_bytes: i64,
}

impl Digest {
    /// A digest of something of `size` bytes.
    pub(super) fn new(digest: &oci::Digest, size: u64) -> Self {
        Digest { hash: digest.hex(), size_bytes: i64::try_from(size).unwrap_or(i64::MAX) }
    }
}

/// `OutputFile`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OutputFile {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(message, optional, tag = "2")]
    pub(super) digest: Option<Digest>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) contents: Vec<u8>,
}

/// `ActionResult`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ActionResult {
    #[prost(message, repeated, tag = "2")]
    pub(super) output_files: Vec<OutputFile>,
}

/// `GetCapabilitiesRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetCapabilitiesRequest {
    #[prost(string, tag = "1")]
    pub(super) instance_name: String,
}

impl Request for GetCapabilitiesRequest {
    const METHOD: &'static str = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities";
    type Answer = ServerCapabilities;
}

/// `ServerCapabilities`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ServerCapabilities {
    #[prost(message, optional, tag = "1")]
    pub(super) cache_capabilities: Option<CacheCapabilities>,
}

/// `CacheCapabilities`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CacheCapabilities {
    #[prost(int32, repeated, tag = "1")]
    pub(super) digest_functions: Vec<i32>,
    /// 0: the server sets no limit of its own.
    #[prost(int64, tag = "4")]
    pub(super) max_batch_total_size_bytes: i64,
}

/// `GetActionResultRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetActionResultRequest {
    #[prost(string, tag = "1")]
    pub(super) instance_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) action_digest: Option<Digest>,
}

impl Request for GetActionResultRequest {
    const METHOD: &'static str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
    type Answer = ActionResult;
}

/// `UpdateActionResultRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateActionResultRequest {
    #[prost(string, tag = "1")]
    pub(super) instance_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) action_digest: Option<Digest>,
    /// An `ActionResult`: a message in a message is its bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) action_result: Bytes,
}

impl Request for UpdateActionResultRequest {
    const METHOD: &'static str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
    type Answer = ActionResult;
}

/// `BatchReadBlobsRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchReadBlobsRequest {
    #[prost(string, tag = "1")]
    pub(super) instance_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) digests: Vec<Digest>,
}

impl Request for BatchReadBlobsRequest {
    const METHOD: &'static str = "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs";
    type Answer = BatchReadBlobsResponse;
}

/// `BatchReadBlobsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchReadBlobsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) responses: Vec<BlobRead>,
}

/// `BatchReadBlobsResponse.Response`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobRead {
    #[prost(message, optional, tag = "1")]
    pub(super) digest: Option<Digest>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<Status>,
}

/// `BatchUpdateBlobsRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchUpdateBlobsRequest {
    #[prost(string, tag = "1")]
    pub(super) instance_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) requests: Vec<BlobToWrite>,
}

impl Request for BatchUpdateBlobsRequest {
    const METHOD: &'static str =
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
    type Answer = BatchUpdateBlobsResponse;
}

/// `BatchUpdateBlobsRequest.Request`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobToWrite {
    #[prost(message, optional, tag = "1")]
    pub(super) digest: Option<Digest>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

/// `BatchUpdateBlobsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchUpdateBlobsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) responses: Vec<BlobWritten>,
}

/// `BatchUpdateBlobsResponse.Response`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobWritten {
    #[prost(message, optional, tag = "2")]
    pub(super) status: Option<Status>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// `google.bytestream.ReadRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(super) resource_name: String,
}

impl Request for ReadRequest {
    const METHOD: &'static str = "/google.bytestream.ByteStream/Read";
    type Answer = ReadResponse;
}

/// `google.bytestream.ReadResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResponse {
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) data: Bytes,
}

/// `google.bytestream.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    /// In the first of a stream.
    #[prost(string, tag = "1")]
    pub(super) resource_name: String,
    #[prost(int64, tag = "2")]
    pub(super) write_offset: i64,
    #[prost(bool, tag = "3")]
    pub(super) finish_write: bool,
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) data: Bytes,
}

impl Request for WriteRequest {
    const METHOD: &'static str = "/google.bytestream.ByteStream/Write";
    type Answer = WriteResponse;
}

/// `google.bytestream.WriteResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteResponse {
    #[prost(int64, tag = "1")]
    pub(super) committed_size: i64,
}
