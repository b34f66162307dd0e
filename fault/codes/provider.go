package codes

// faults are those that operations of VASA declare.
func faults() []Entry {
	at := func(name, means, op string, e effect, other string) Entry {
		return Entry{Kind: Fault, Code: name, Name: name, Means: means, ESXi: e.text, Certainty: e.certainty, Rule: "vasa op=" + op + " -> fault " + name, Other: other}
	}
	again := does("Starts over with -1, and reads everything again.", Inferred)
	return []Entry{
		at("ActivateProviderFailed", "The provider could not become the active one.", "activateProviderEx", effect{}, ""),
		at("InactiveProvider", "Another provider is the active one for that entity.", "bindVirtualVolume", does("Retried at another provider.", Inferred), ""),
		at("IncompatibleVolume", "The two volumes are not related as the call needs it.", "revertVirtualVolume", effect{}, "volumes of different families"),
		at("InvalidArgument", "An argument is missing, malformed or out of range.", "createVirtualVolume", effect{}, "such arguments"),
		at("InvalidCertificate", "A certificate or revocation list can't be used.", "registerCACertificatesAndCRLs", effect{}, "such certificates"),
		at("InvalidLogin", "User name or password are wrong.", "registerCACertificatesAndCRLs", effect{}, "registration with another password"),
		at("InvalidProfile", "A profile asks for what does not exist or can't be had.", "createVirtualVolume", effect{}, "such profiles"),
		at("InvalidSession", "The client has no session, or no certificate that is trusted.", "queryArrays", does("setContext is called again.", Inferred), "the provider's restart, and sessions that ran out"),
		at("InvalidStatisticsContext", "The statistics context is not set, or does not fit.", "queryAssociatedStatisticsForEntity", effect{}, "statistics without a context"),
		at("LostAlarm", "The id does not continue the queue of alarms.", "getAlarms", again, "such ids"),
		at("LostEvent", "The id does not continue the queue of events.", "getEvents", again, "such ids"),
		at("NotCancellable", "The task can't be cancelled.", "cancelTask", effect{}, "tasks that can't be"),
		at("NotFound", "A well-formed id of something that does not exist.", "deleteVirtualVolume", effect{}, "such ids"),
		at("NotImplemented", "The operation or the profile is not offered.", "createVirtualVolume", effect{}, "operations that the provider does not have"),
		at("NotSupported", "The operation exists, but not for this object.", "resizeVirtualVolume", effect{}, "such objects"),
		at("OutOfResource", "There is no space left in the container.", "createVirtualVolume", effect{}, "full containers"),
		at("PermissionDenied", "The caller may not do this.", "deleteVirtualVolume", effect{}, "callers that may not"),
		at("ResourceInUse", "The object is bound, something depends on it, or a task runs on it.", "deleteVirtualVolume", effect{}, "such objects"),
		at("SnapshotTooMany", "The volume or container may not have another snapshot.", "prepareToSnapshotVirtualVolume", effect{}, "more snapshots than the volume's quality allows"),
		at("StorageFault", "Anything else; the text tells more.", "queryArrays", does("In the first synchronization it makes the provider `syncError`.", Documented, Inferred), "storage that fails"),
		at("Timeout", "The snapshots were not taken within the time asked for.", "snapshotVirtualVolume", effect{}, "snapshots that take longer"),
		at("TooMany", "More elements than a call may have.", "bindVirtualVolume", effect{}, "larger batches"),
		at("VasaProviderBusy", "The provider has too much to do.", "createVirtualVolume", does("Retried.", Inferred), "a provider that is overloaded or stops"),
	}
}
