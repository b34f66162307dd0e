package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/wire/xsd"
)

const (
	start11 = `<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:s="http://com.vmware.vim.vasa/2.0/xsd" xmlns:d="http://data.vasa.vim.vmware.com/xsd" xmlns:v="http://vvol.data.vasa.vim.vmware.com/xsd" xmlns:p="http://profile.policy.data.vasa.vim.vmware.com/xsd" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>`
	end     = `</e:Body></e:Envelope>`
)

// in puts an element into an envelope.
func in(s string) string { return start11 + s + end }

const bind = `<s:bindVirtualVolume><s:vvolId>a</s:vvolId><s:vvolId>b</s:vvolId><s:bindContext>Normal</s:bindContext></s:bindVirtualVolume>`

func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		body, action, op string
		findings         []xsd.Kind
	}{
		{in(bind), "urn:bindVirtualVolume", "bindVirtualVolume", nil},
		{in(bind), ` "urn:bindVirtualVolume" `, "bindVirtualVolume", nil},
		{in(bind), "", "bindVirtualVolume", nil},
		{in(bind), `""`, "bindVirtualVolume", []xsd.Kind{ActionSpelling}},
		{in(bind), "bindVirtualVolume", "bindVirtualVolume", []xsd.Kind{ActionSpelling}},
		{in(bind), "http://com.vmware.vim.vasa/2.0/bindVirtualVolume", "bindVirtualVolume", []xsd.Kind{ActionSpelling}},
		{in(bind), "urn:other", "bindVirtualVolume", []xsd.Kind{ActionSpelling}},
		{in(""), "urn:queryCatalog", "queryCatalog", nil},
		{in(" <!-- --> "), "urn:requestCSR", "requestCSR", nil},
		{in("<s:requestCSR/>"), "", "requestCSR", []xsd.Kind{xsd.UnknownElement}},
	} {
		req, err := DecodeRequest([]byte(c.body), c.action, Options{})
		require.NoError(t, err, c.action)
		require.Equal(t, c.op, req.Operation.Name)
		require.IsType(t, req.Operation.NewRequest(), req.Value)
		require.Equal(t, c.findings, kinds(req.Findings))
		_, err = DecodeRequest([]byte(c.body), c.action, Options{Strict: true})
		require.Equal(t, c.findings != nil, err != nil, c.action)
	}
}

func kinds(found []Finding) (all []xsd.Kind) {
	for _, f := range found {
		all = append(all, f.Kind)
	}
	return all
}

// TestRefused holds what is refused, whoever asks.
func TestRefused(t *testing.T) {
	profile := func(s string) string {
		return in(`<s:updateStorageProfileForVirtualVolume><s:vvolId>a</s:vvolId><s:newStorageProfile>` + s + `</s:newStorageProfile></s:updateStorageProfileForVirtualVolume>`)
	}
	for _, c := range []struct {
		name, body, action string
		kind               xsd.Kind
		path               string
	}{
		{"nothing", "", "", xsd.Malformed, ""},
		{"text", "hello", "", xsd.Malformed, ""},
		{"not an envelope", "<a/>", "", VersionMismatch, ""},
		{"no body", `<e:Envelope xmlns:e="` + soap11URI + `"/>`, "", xsd.Missing, "Envelope/Body"},
		{"truncated", in(bind)[:len(start11)+60], "", xsd.Malformed, "Envelope/Body/bindVirtualVolume/vvolId[1]"},
		{"trailing", in(bind) + "x", "", xsd.Malformed, ""},
		{"empty and trailing", in("") + "x", "urn:queryCatalog", xsd.Malformed, ""},
		{"two roots", in(bind) + "<a/>", "", xsd.Malformed, "a"},
		{"two elements", in(bind + bind), "", xsd.Repeated, "Envelope"},
		{"document type", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + strings.TrimPrefix(in(bind), `<?xml version="1.0"?>`), "", xsd.Malformed, ""},
		{"entity", in(`<s:getTaskUpdate><s:taskId>&x;</s:taskId></s:getTaskUpdate>`), "", xsd.Malformed, "Envelope/Body/getTaskUpdate/taskId"},
		{"processing instruction", in("<?php x?>" + bind), "", xsd.Malformed, "Envelope/Body"},
		{"late declaration", in(`<?xml version="1.0"?>` + bind), "", xsd.Malformed, "Envelope/Body"},
		{"encoding", strings.Replace(in(bind), `"1.0"?`, `"1.0" encoding="UTF-16"?`, 1), "", xsd.Malformed, ""},
		{"not UTF-8", in("<s:getTaskUpdate><s:taskId>\xC3\x28</s:taskId></s:getTaskUpdate>"), "", xsd.Malformed, ""},
		{"control character", in("<s:getTaskUpdate><s:taskId>&#0;</s:taskId></s:getTaskUpdate>"), "", xsd.Malformed, "Envelope/Body/getTaskUpdate/taskId"},
		{"element of another", in(strings.Repeat("<a>", 40)), "urn:queryCatalog", ActionMismatch, "Envelope/Body"},
		{"deep unknown", in("<s:queryArrays>" + strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40) + "</s:queryArrays>"), "", xsd.TooLarge,
			"Envelope/Body/queryArrays" + strings.Repeat("/a", 30)},
		{"long tag", in(`<s:queryArrays ` + strings.Repeat(` a=""`, xsd.MaxTag/5) + `/>`), "", xsd.TooLarge, "Envelope/Body"},
		{"many elements", in("<s:queryArrays>" + strings.Repeat("<a/>", xsd.MaxNodes)), "", xsd.TooLarge, "Envelope/Body/queryArrays/a"},
		{"many attributes", in("<s:queryArrays>" + strings.Repeat("<a"+strings.Repeat(` b=""`, 1000)+"/>", xsd.MaxNodes/1000)), "", xsd.TooLarge, "Envelope/Body/queryArrays/a"},
		{"long body", in(strings.Repeat(" ", MaxBody)), "", xsd.TooLarge, ""},

		{"unknown operation", in("<s:formatDisks/>"), "urn:formatDisks", NoOperation, "Envelope/Body"},
		{"empty and no action", in(""), "", NoOperation, ""},
		{"empty request", in(""), "urn:bindVirtualVolume", EmptyBody, "Envelope/Body"},
		{"other action", in(bind), "urn:unbindVirtualVolume", ActionMismatch, "Envelope/Body"},
		{"wrapper's namespace", in(strings.ReplaceAll(bind, "s:bindV", "d:bindV")), "urn:bindVirtualVolume", xsd.WrongNamespace, "Envelope/Body/bindVirtualVolume"},
		{"wrapper of 1.0", strings.Replace(in(bind), "/2.0/xsd", "/1.0/xsd", 1), "", xsd.WrongNamespace, "Envelope/Body/bindVirtualVolume"},
		{"nil wrapper", in(`<s:setContext xsi:nil="true"/>`), "", xsd.NilElement, "Envelope/Body/setContext"},

		{"missing", in(`<s:bindVirtualVolume><s:vvolId>a</s:vvolId></s:bindVirtualVolume>`), "", xsd.Missing, "Envelope/Body/bindVirtualVolume/bindContext"},
		{"empty list", in(`<s:bindVirtualVolume><s:bindContext>Normal</s:bindContext></s:bindVirtualVolume>`), "", xsd.Missing, "Envelope/Body/bindVirtualVolume/vvolId"},
		{"list of nil", in(`<s:bindVirtualVolume><s:vvolId xsi:nil="1"/><s:bindContext>Normal</s:bindContext></s:bindVirtualVolume>`), "", xsd.Missing, "Envelope/Body/bindVirtualVolume/vvolId"},
		{"twice", in(`<s:getTaskUpdate><s:taskId>1</s:taskId><s:taskId>2</s:taskId></s:getTaskUpdate>`), "", xsd.Repeated, "Envelope/Body/getTaskUpdate/taskId"},
		{"nil", in(`<s:getTaskUpdate><s:taskId xsi:nil="true"/></s:getTaskUpdate>`), "", xsd.NilElement, "Envelope/Body/getTaskUpdate/taskId"},
		{"child's namespace", in(`<s:getTaskUpdate><d:taskId>1</d:taskId></s:getTaskUpdate>`), "", xsd.WrongNamespace, "Envelope/Body/getTaskUpdate/taskId"},
		{"base's namespace", in(`<s:unbindVirtualVolume><s:vvolHandle><v:uniqueIdentifier>a</v:uniqueIdentifier></s:vvolHandle></s:unbindVirtualVolume>`), "", xsd.WrongNamespace,
			"Envelope/Body/unbindVirtualVolume/vvolHandle[0]/uniqueIdentifier"},
		{"number", in(`<s:getEvents><s:lastEventId>one</s:lastEventId></s:getEvents>`), "", xsd.Syntax, "Envelope/Body/getEvents/lastEventId"},
		{"large number", in(`<s:getEvents><s:lastEventId>9223372036854775808</s:lastEventId></s:getEvents>`), "", xsd.Syntax, "Envelope/Body/getEvents/lastEventId"},
		{"empty number", in(`<s:getEvents><s:lastEventId/></s:getEvents>`), "", xsd.Syntax, "Envelope/Body/getEvents/lastEventId"},
		{"boolean", in(`<s:registerCASignedProviderCertificate><s:providerCert/><s:forceApply>yes</s:forceApply></s:registerCASignedProviderCertificate>`), "", xsd.Syntax,
			"Envelope/Body/registerCASignedProviderCertificate/forceApply"},
		{"time", profile(`<p:createdBy/><p:creationTime>yesterday</p:creationTime>`), "", xsd.Syntax, "Envelope/Body/updateStorageProfileForVirtualVolume/newStorageProfile/creationTime"},
		{"other type", profile(``)[:len(start11)] + `<s:updateStorageProfileForVirtualVolume><s:newStorageProfile xsi:type="v:TaskInfo"/></s:updateStorageProfileForVirtualVolume>` + end, "", xsd.WrongType,
			"Envelope/Body/updateStorageProfileForVirtualVolume/newStorageProfile"},
		{"type's prefix", in(`<s:setContext><s:usageContext xsi:type="zz:UsageContext"/></s:setContext>`), "", xsd.Syntax, "Envelope/Body/setContext/usageContext"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := DecodeRequest([]byte(c.body), c.action, Options{})
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.kind, e.Kind, e)
			require.Equal(t, c.path, e.Path, e)
			require.Nil(t, req.Value)
		})
	}
}

// TestTolerated holds what a newer client may add: each is ignored and reported, and
// refused by the strict.
func TestTolerated(t *testing.T) {
	for _, c := range []struct {
		body string
		want any
		kind xsd.Kind
	}{
		{`<s:getTaskUpdate><s:more><a>1</a></s:more><s:taskId>t</s:taskId></s:getTaskUpdate>`, &GetTaskUpdate{TaskID: "t"}, xsd.UnknownElement},
		{`<s:getTaskUpdate><s:taskId>t<b/></s:taskId></s:getTaskUpdate>`, &GetTaskUpdate{TaskID: "t"}, xsd.UnknownElement},
		{`<s:getTaskUpdate a="b"><s:taskId>t</s:taskId></s:getTaskUpdate>`, &GetTaskUpdate{TaskID: "t"}, xsd.UnknownAttribute},
		{`<s:getTaskUpdate><s:taskId xsi:other="1">t</s:taskId></s:getTaskUpdate>`, &GetTaskUpdate{TaskID: "t"}, xsd.UnknownAttribute},
		{`<s:getTaskUpdate>text<s:taskId>t</s:taskId></s:getTaskUpdate>`, &GetTaskUpdate{TaskID: "t"}, xsd.StrayText},
		{`<s:getEvents><s:lastEventId xsi:nil="true"/></s:getEvents>`, &GetEvents{}, xsd.NilElement},
		{`<s:getCurrentTask><s:arrayId xsi:nil="true">x</s:arrayId></s:getCurrentTask>`, &GetCurrentTask{}, xsd.StrayText},
		{`<s:queryArrays><s:arrayUniqueId xsi:nil="true"/><s:arrayUniqueId>1</s:arrayUniqueId></s:queryArrays>`, &QueryArrays{ArrayUniqueID: []string{"1"}}, xsd.NilElement},
		{`<s:bindVirtualVolume><s:bindContext>Normal</s:bindContext><s:vvolId>a</s:vvolId></s:bindVirtualVolume>`, &BindVirtualVolume{VVolID: []string{"a"}, BindContext: BindContextNormal}, xsd.OutOfOrder},
		{`<s:setContext><s:usageContext xsi:type="d:UsageContextEx"><d:vcGuid>g</d:vcGuid></s:usageContext></s:setContext>`, &SetContext{UsageContext: &UsageContext{VCGUID: new("g")}}, xsd.UnknownType},
		{`<s:getTaskUpdate><s:taskId xsi:type="d:Id">t</s:taskId></s:getTaskUpdate>`, &GetTaskUpdate{TaskID: "t"}, xsd.UnknownType},
	} {
		req, err := DecodeRequest([]byte(in(c.body)), "", Options{})
		require.NoError(t, err, c.body)
		require.Equal(t, c.want, req.Value, c.body)
		require.Equal(t, []xsd.Kind{c.kind}, kinds(req.Findings), c.body)
		_, err = DecodeRequest([]byte(in(c.body)), "", Options{Strict: true})
		var e *Error
		require.ErrorAs(t, err, &e, c.body)
		require.Equal(t, c.kind, e.Kind)
	}
}

func TestFaultBothVersions(t *testing.T) {
	want := &SOAPFault{Code: CodeReceiver, Reason: "limit <16> reached [id 7]", Detail: &TooMany{MaxBatchSize: new(int64(16))}, Name: xmlName(ServiceURI, "TooMany")}
	for v, text := range map[Version][]string{
		SOAP11: {"<faultcode>soap:Server</faultcode>", "<faultstring>limit &lt;16&gt; reached [id 7]</faultstring>", "<detail><svc:TooMany><svc:TooMany><fault:maxBatchSize>16<"},
		SOAP12: {"<soap:Code><soap:Value>soap:Receiver</soap:Value></soap:Code>", `<soap:Reason><soap:Text xml:lang="en">limit`, "<soap:Detail><svc:TooMany><svc:TooMany><fault:maxBatchSize>16<"},
	} {
		b, err := EncodeFault(v, want)
		require.NoError(t, err)
		for _, s := range text {
			require.Contains(t, string(b), s)
		}
		resp, err := DecodeResponse(b, Lookup("bindVirtualVolume"), Options{Strict: true})
		var got *SOAPFault
		require.ErrorAs(t, err, &got)
		require.Equal(t, want, got)
		require.Equal(t, v, resp.Version)
	}
}

func TestHeaders(t *testing.T) {
	with := func(header string) string {
		return strings.Replace(in(bind), "<e:Body>", `<e:Header>`+header+`</e:Header><e:Body>`, 1)
	}
	block := `<x:h xmlns:x="urn:x" e:mustUnderstand="1"><x:y/>text</x:h>`
	req, err := DecodeRequest([]byte(with(block)), "", Options{})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, CodeMustUnderstand, Code(e))
	require.Equal(t, []Header{{Name: xmlName("urn:x", "h"), MustUnderstand: true, Text: block}}, req.Headers)
	require.Equal(t, SOAP11, req.Version)

	_, err = DecodeRequest([]byte(with(block)), "", Options{Understood: []string{"urn:x"}})
	require.NoError(t, err)
	for _, ignored := range []string{strings.Replace(block, "1", "0", 1), strings.Replace(block, ">", ` e:actor="urn:proxy">`, 1)} {
		_, err = DecodeRequest([]byte(with(ignored)), "", Options{Strict: true})
		require.NoError(t, err, ignored)
	}
	req, err = DecodeRequest([]byte(with("<x>"+strings.Repeat("y", 2*MaxHeaderText)+"</x>")), "", Options{})
	require.NoError(t, err)
	require.Len(t, req.Headers[0].Text, MaxHeaderText)
	_, err = DecodeRequest([]byte(with(strings.Repeat("<x/>", MaxHeaders+1))), "", Options{})
	require.ErrorAs(t, err, &e)
	require.Equal(t, xsd.TooLarge, e.Kind)
}
