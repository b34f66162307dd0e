package array

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/scsi/iscsi/pdu"
)

// ESXiConfig settles what public sources leave open about ESXi (scsi.md 6). Every
// key can be changed while the array runs.
type ESXiConfig struct {
	EndpointCapacity    string `yaml:"pe_capacity"`
	EndpointMedia       string `yaml:"pe_media"`
	EndpointModeSense   string `yaml:"pe_mode_sense"`
	UnboundSense        string `yaml:"unbound_sense"`
	BindAttention       string `yaml:"bind_attention"`
	ResetSubsidiaries   bool   `yaml:"reset_subsidiaries"`
	ConglomerateReports bool   `yaml:"conglomerate_reports"`
	SecondaryForm       string `yaml:"secondary_form"`
	ExplicitALUA        bool   `yaml:"explicit_alua"`
	LoginUnavailable    string `yaml:"login_unavailable"`
}

func defaultESXi() ESXiConfig {
	return ESXiConfig{EndpointCapacity: string(device.CapacityTiny), EndpointMedia: string(device.MediaRefuse), EndpointModeSense: "serve",
		UnboundSense: "25/00", BindAttention: "3f/0e", ConglomerateReports: true, SecondaryForm: "e2", LoginUnavailable: "0203"}
}

// Values of the keys that choose a code.
var (
	unboundSenses  = map[string]scsi.ASC{"25/00": scsi.LogicalUnitNotSupported, "68/01": scsi.SubsidiaryNotConfigured}
	bindAttentions = map[string]scsi.ASC{"3f/0e": scsi.ReportedLUNsDataChanged, "3f/1a": scsi.SubsidiaryBindingChanged, "none": 0}
	unavailables   = map[string]pdu.LoginStatus{"0203": pdu.LoginTargetNotFound, "0204": pdu.LoginTargetRemoved,
		"0300": pdu.LoginTargetError, "0301": pdu.LoginServiceUnavailable, "0302": pdu.LoginOutOfResources}
	forms      = map[string]scsi.SubsidiaryForm{"e2": scsi.LongForm, "d2": scsi.ExtendedForm, "simple": scsi.SimpleForm}
	modeSenses = map[string]bool{"serve": true, "refuse": false}
	capacities = []string{string(device.CapacityTiny), string(device.CapacityZero), string(device.CapacityNotReady), string(device.CapacityRefuse)}
	media      = []string{string(device.MediaRefuse), string(device.MediaNoMedium), string(device.MediaZeros)}
)

func (e *ESXiConfig) validate() error {
	if !slices.Contains(capacities, e.EndpointCapacity) {
		return fmt.Errorf("esxi.pe_capacity: %q is none of %q", e.EndpointCapacity, capacities)
	}
	if !slices.Contains(media, e.EndpointMedia) {
		return fmt.Errorf("esxi.pe_media: %q is none of %q", e.EndpointMedia, media)
	}
	if _, ok := modeSenses[e.EndpointModeSense]; !ok {
		return fmt.Errorf("esxi.pe_mode_sense: %q is neither serve nor refuse", e.EndpointModeSense)
	}
	if _, ok := forms[e.SecondaryForm]; !ok {
		return fmt.Errorf("esxi.secondary_form: %q is none of e2, d2, simple", e.SecondaryForm)
	}
	if _, ok := unboundSenses[e.UnboundSense]; !ok {
		return fmt.Errorf("esxi.unbound_sense: %q is neither 25/00 nor 68/01", e.UnboundSense)
	}
	if _, ok := bindAttentions[e.BindAttention]; !ok {
		return fmt.Errorf("esxi.bind_attention: %q is none of 3f/0e, 3f/1a, none", e.BindAttention)
	}
	if _, ok := unavailables[e.LoginUnavailable]; !ok {
		return fmt.Errorf("esxi.login_unavailable: %q is none of 0203, 0204, 0300, 0301, 0302", e.LoginUnavailable)
	}
	return nil
}

// values shows the settings by key.
func (e *ESXiConfig) values() map[string]any {
	all := map[string]any{}
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		all[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i).Interface()
	}
	return all
}

// patch changes the settings that it names and checks the whole. Numbers are no
// values: codes are text. The error says which key is wrong.
func (e *ESXiConfig) patch(patch map[string]any) error {
	v := reflect.ValueOf(e).Elem()
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		field, ok := fieldOf(v.Type(), key)
		if !ok {
			return fmt.Errorf("esxi.%s: unknown key", key)
		}
		given := reflect.ValueOf(patch[key])
		if !given.IsValid() || given.Type() != field.Type {
			return fmt.Errorf("esxi.%s: %v is no %s", key, patch[key], kindNames[field.Type.Kind()])
		}
		v.FieldByIndex(field.Index).Set(given)
	}
	return e.validate()
}

var kindNames = map[reflect.Kind]string{reflect.Bool: "truth value", reflect.String: "text"}

// knobs is the device server's view.
func (e *ESXiConfig) knobs() device.Knobs {
	return device.Knobs{EndpointCapacity: device.CapacityAnswer(e.EndpointCapacity), EndpointMedia: device.MediaAnswer(e.EndpointMedia),
		EndpointModes: modeSenses[e.EndpointModeSense], SubsidiaryForm: forms[e.SecondaryForm], UnboundSense: unboundSenses[e.UnboundSense], BindAttention: bindAttentions[e.BindAttention],
		ResetSubsidiaries: e.ResetSubsidiaries, ConglomerateReports: e.ConglomerateReports, ExplicitALUA: e.ExplicitALUA}
}
