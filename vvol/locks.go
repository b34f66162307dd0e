package vvol

// Names in Service.locks: volumes under their id, hosts and containers under theirs. Order
// between calls: volumes, then a host or container.

func volumeLock(id ID) string             { return "v" + string(id[:]) }
func hostLock(id HostID) string           { return "h" + string(id) }
func containerLock(id ContainerID) string { return "c" + string(id[:]) }
