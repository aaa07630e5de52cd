//! The S3 front: buckets and objects for clients that speak S3.
