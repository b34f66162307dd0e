package policy

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// SchemaID names the one schema.
const SchemaID = Namespace + ".schema"

// vendorUUID is a fixed text (vasa.md 7.2).
const vendorUUID = "5f1ef5d0-5bb0-4b1c-9a35-6e2f7c0f3c11"

// KeyPrefix begins the keys of the Policy catalog.
const KeyPrefix = Namespace + ".capability."

// Keys are those of the Policy catalog, with their texts: a label and a summary for each
// capability and category.
func Keys() map[string]string {
	keys := map[string]string{KeyPrefix + "vendor.label": "vvsim", KeyPrefix + "vendor.summary": "vvsim storage array"}
	for _, c := range capabilities() {
		keys[KeyPrefix+c.id+".label"], keys[KeyPrefix+c.id+".summary"] = c.label, c.summary
		keys[KeyPrefix+c.category+".label"], keys[KeyPrefix+c.category+".summary"] = c.category, c.category
	}
	return keys
}

func described(key, label, summary string) wire.ExtendedElementDescription {
	return wire.ExtendedElementDescription{Key: key, Label: label, MessageCatalogKeyPrefix: KeyPrefix + key, Summary: summary}
}

// Schema is what a policy may ask for.
func Schema(version string) wire.CapabilitySchema {
	s := wire.CapabilitySchema{SchemaID: SchemaID, NamespaceInfo: wire.NamespaceInfo{Namespace: Namespace, Version: "1.0"},
		VendorInfo: wire.VendorInfo{VendorUUID: vendorUUID, Info: described("vendor", "vvsim", "vvsim storage array "+version)}}
	for _, c := range capabilities() {
		if c.namespace != Namespace {
			continue // vSphere has its own schema of it
		}
		n := len(s.CapabilityMetadataPerCategory)
		if n == 0 || s.CapabilityMetadataPerCategory[n-1].Category != c.category {
			s.CapabilityMetadataPerCategory = append(s.CapabilityMetadataPerCategory, wire.CapabilityMetadataPerCategory{Category: c.category})
			n++
		}
		category := &s.CapabilityMetadataPerCategory[n-1]
		category.CapabilityMetadata = append(category.CapabilityMetadata, c.metadata())
	}
	return s
}

// metadata describes a capability: one property of the same name. Its type is mandatory,
// or registration goes wrong (vasa.md 7.2).
func (c capability) metadata() wire.CapabilityMetadata {
	about := described(c.id, c.label, c.summary)
	property := wire.PropertyMetadata{ID: c.id, Mandatory: false, AllowedValue: c.allowed, DefaultValue: c.byDefault, Summary: about,
		Type: &wire.TypeInfo{TypeName: c.kind}}
	if c.generic != "" {
		property.Type = &wire.GenericTypeInfo{TypeInfo: wire.TypeInfo{TypeName: c.kind}, GenericTypeName: c.generic}
	}
	return wire.CapabilityMetadata{CapabilityID: c.name(), AllowMultipleConstraints: new(false), Hint: new(false), KeyID: new(c.id), Mandatory: new(false),
		PropertyMetadata: []wire.PropertyMetadata{property}, Summary: about}
}

func (c capability) name() wire.CapabilityId {
	return wire.CapabilityId{ID: c.id, Namespace: c.namespace}
}

// instance is a capability with a value.
func (c capability) instance(value any) wire.CapabilityInstance {
	return wire.CapabilityInstance{CapabilityID: c.name(), Constraint: []wire.ConstraintInstance{{PropertyInstance: []wire.PropertyInstance{{ID: c.id, Value: value}}}}}
}

// ProfileID is the id of a service level as a capability profile: stable while container
// and level have their names.
func ProfileID(container vvol.ContainerID, level string) string {
	return uuid.NewSHA1(uuid.UUID(container), []byte(level)).String()
}

// Profile is a service level of a container as a capability profile.
func Profile(k vvol.StorageContainer, l vvol.ServiceLevel) *wire.StorageProfile {
	sub := &wire.SubProfile{Name: l.Name}
	for _, c := range capabilities() {
		if v := c.offer(l); v != nil {
			sub.Capability = append(sub.Capability, c.instance(v))
		}
	}
	return &wire.StorageProfile{ProfileID: ProfileID(k.ID, l.Name), Name: k.Name + " " + l.Name, Description: new("Service level " + l.Name + " of container " + k.Name),
		CreatedBy: "vvsim", CreationTime: k.Created.UTC(), GenerationID: 0,
		Constraints: &wire.CapabilityConstraints{SubProfiles: []wire.AnySubProfile{sub}}}
}

// Default is a service level of a container as the default policy of VVol types.
func Default(k vvol.StorageContainer, l vvol.ServiceLevel, types []wire.VirtualVolumeType) wire.DefaultProfile {
	return wire.DefaultProfile{StorageProfile: *Profile(k, l), EntityType: types}
}

// Result is what is known of an object's compliance; v is the object.
func Result(v vvol.VirtualVolume, c vvol.Compliance, at time.Time) wire.ComplianceResult {
	r := wire.ComplianceResult{CheckTime: at.UTC(), ObjectID: v.ID.String(), ComplianceStatus: wire.ComplianceStatusCompliant}
	if c.Policy.ProfileID != "" {
		r.ProfileID = new(c.Policy.ProfileID)
	}
	if !c.Compliant {
		r.ComplianceStatus = wire.ComplianceStatusNonCompliant
		r.ViolatedPolicy = Violated(c.Violations)
	}
	return r
}

// Violated are the domain's violations as capabilities, one for each; values are texts as
// the domain tells them, since what is violated need not be of the property's own type
// ("none", or bytes that are reserved).
func Violated(violations []vvol.Violation) (list []wire.PolicyStatus) {
	for _, v := range violations {
		for _, c := range capabilities() {
			for _, name := range c.violated {
				// What is not in force on the data path is told behind "in force: ".
				if name == strings.TrimPrefix(v.What, "in force: ") {
					list = append(list, wire.PolicyStatus{CurrentValue: c.instance(v.Current), ExpectedValue: c.instance(v.Expected)})
				}
			}
		}
	}
	return list
}
