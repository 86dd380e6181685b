//! The cluster as plain data: what DNS needs of Services, EndpointSlices, Namespaces, Pods and ServiceImports.
//!
//! Nothing here knows Kubernetes clients, DNS messages or tokio. Sources (see `source`) turn what they read into
//! [`Event`]s; [`Cluster`] keeps the live objects and their joins; `zone` makes records of them.

mod cluster;
mod dirty;
mod endpoints;
mod event;
mod interned;
mod join;
mod objects;
mod selector;
mod settings;

pub use cluster::{Cluster, Filter, HoldNote, Kept, Lost, MassRemoval, Visibility};
pub use dirty::Dirty;
pub use endpoints::{AddressRef, Conditions, Endpoint, EndpointAddress, EndpointRef, Endpoints, EndpointsBuilder};
pub use event::{Event, Kind};
pub use objects::{
    EndpointPort, EndpointSlice, Import, Labels, Namespace, Object, ObjectKey, Pod, PodAddresses, Service, ServiceKind,
    ServicePort,
};
pub use selector::{Selector, SelectorError};
pub use settings::{ANNOTATION_PREFIX, EndpointNames, PodNameForm, PodNames, PointsBack, Settings};
